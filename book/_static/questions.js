// Closed questions below a chapter: a choice is marked at once, and every option says why.
document.addEventListener("DOMContentLoaded", () => {
  for (const question of document.querySelectorAll(".fp-question")) {
    question.addEventListener("change", (event) => {
      const { right, why } = event.target.dataset;
      const said = question.querySelector(".fp-why");
      said.textContent = `${right ? "Right." : "Not this one."} ${why}`;
      said.dataset.right = right ?? "";
    });
  }
});
