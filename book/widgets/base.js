// What the widgets share; base.py puts the class of a widget in the place of that in the script.
const add = (parent, tag, text = '', given = {}) => {
  const node = parent.appendChild(document.createElementNS(parent.namespaceURI, tag));
  node.textContent = text;
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  return node;
};
// Set up every widget of the class once. `begin` gets its parts and gives the function that draws it.
const widget = begin => {
  for (const root of document.querySelectorAll('.fp-widget:not([data-ready])')) {
    root.dataset.ready = '1';
    const data = JSON.parse(root.querySelector('script').textContent), form = root.querySelector('form');
    const draw = begin({root, form, field: form.elements, data, at: name => root.querySelector('.fp-' + name)});
    for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the arrow keys too
    form.addEventListener('input', draw);
    form.addEventListener('submit', event => event.preventDefault());
    draw();
  }
};
