"use strict";
(() => {
  const bar = document.getElementById("filter");
  const text = bar.querySelector("input");
  const pick = bar.querySelector("select");
  const said = bar.querySelector("output");
  const items = [...document.querySelectorAll("[data-find]")];
  const rows = items.filter((item) => item.matches("tr"));
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (item) =>
      (!pick.value || item.dataset.status === pick.value) &&
      words.every((word) => item.dataset.find.includes(word));
    for (const item of items) item.classList.toggle("out", !fits(item));
    const left = rows.filter((row) => !row.classList.contains("out")).length;
    said.textContent = words.length || pick.value ? `${left} of ${rows.length} nodes` : "";
  };
  bar.hidden = false;
  bar.addEventListener("input", apply);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      text.focus();
    } else if (event.key === "Escape") {
      if (typing) {
        text.value = pick.value = "";
        apply();
      } else location.hash = "top";
    }
  });
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });
  apply();
})();
