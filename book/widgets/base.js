// What the widgets share: `widget` makes what anywidget renders, `showStored` renders it on a page, without a kernel.
let render;
const add = (parent, tag, text = '', given = {}) => {
  const node = parent.appendChild(document.createElementNS(parent.namespaceURI, tag));
  node.textContent = text;
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  return node;
};
// `begin` gets the parts of a widget and gives the function that draws it; `kept` outlives a new body.
const widget = begin => {
  render = ({model, el}) => {
    const live = model.get('live'), root = live ? add(el, 'div', '', {class: model.get('kind')}) : el, kept = {};
    let timer, draw, due;
    // The kernel's answer if it is there; else it is asked once the reader pauses, and then drawn again.
    const ask = (asked, pause = 250) => {
      const answer = model.get('answer');
      due = JSON.stringify(asked);
      if (JSON.stringify(answer.to) === due) return answer;
      root.ariaBusy = 'true';
      timer = setTimeout(() => {
        model.set('ask', asked);
        model.save_changes();
      }, pause);
    };
    const again = () => {
      clearTimeout(timer);
      root.ariaBusy = 'false';
      draw();
    };
    const hear = () => {  // another view of the widget may have asked something else
      if (JSON.stringify(model.get('answer').to) === due) again();
    };
    const build = () => {
      const focus = live && root.contains(document.activeElement) && document.activeElement.name;
      const open = live && root.querySelector('details[open]');
      if (live) root.innerHTML = model.get('body');
      const form = root.querySelector('form'), at = name => root.querySelector(`.fp-${name}`);
      for (const part of live ? root.querySelectorAll('.fp-live,.fp-page') : []) part.hidden = part.matches('.fp-page');
      draw = begin({root, form, field: form.elements, data: model.get('data'), at, live, ask, kept});
      for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the keys too
      form.addEventListener('input', again);
      form.addEventListener('submit', event => event.preventDefault());
      again();
      if (focus) form.elements[focus].focus();
      if (open) root.querySelector('details').open = true;
    };
    build();
    model.on('change:body', build);
    model.on('change:answer', hear);
    return () => {
      clearTimeout(timer);
      model.off('change:body', build);
      model.off('change:answer', hear);
    };
  };
  return {render};
};
const showStored = kind => {
  for (const el of document.querySelectorAll(`.${kind}:not([data-ready])`)) {
    el.dataset.ready = '1';
    const data = JSON.parse(el.querySelector('script').textContent);
    render({el, model: {get: name => ({data})[name], on() {}}});
  }
};
