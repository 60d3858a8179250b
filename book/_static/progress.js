// What a reader has done, kept in this browser alone: the list of all chapters, and the box at the end of each.
document.addEventListener("DOMContentLoaded", () => {
  const part = document.querySelector(".fp-progress");
  if (!part) return;
  const KEY = "fedprompt-progress";
  const all = part.dataset.chapters.split(" ").flatMap((name) => [name, `${name}-exercises`]);
  const boxes = [...part.querySelectorAll("input")];
  const bar = part.querySelector("progress");
  let kept = true; // false where the browser forbids keeping anything
  let done = new Set();

  const show = () => {
    for (const box of boxes) box.checked = done.has(box.name);
    part.querySelector(".fp-state").textContent =
      `${done.size} of ${all.length} done` + (kept ? "" : "; this browser keeps no marks");
    if (bar) bar.value = done.size / all.length;
  };
  const load = () => {
    try {
      const names = JSON.parse(localStorage.getItem(KEY) || "[]");
      done = new Set(all.filter((name) => Array.isArray(names) && names.includes(name)));
    } catch {
      done = new Set();
    }
    show();
  };
  const write = () => {
    try {
      localStorage.setItem(KEY, JSON.stringify([...done]));
    } catch {
      kept = false;
    }
    show();
  };
  for (const box of boxes) {
    box.addEventListener("change", () => {
      done[box.checked ? "add" : "delete"](box.name);
      write();
    });
  }
  part.querySelector("button")?.addEventListener("click", () => {
    if (!confirm("Clear all marks?")) return;
    done = new Set();
    write();
  });
  window.addEventListener("storage", (event) => event.key === KEY && load()); // another tab of the book
  load();
});
