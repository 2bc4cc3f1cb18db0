"use strict";
// the filter; without it everything is shown
const form = document.getElementById("filter");
const parts = [...document.querySelectorAll("[data-text]")];
const apply = () => {
  const word = form.elements.word.value.trim().toLowerCase();
  const group = form.elements.group.value;
  const what = form.elements.what.value;
  let shown = 0;
  for (const part of parts) {
    const fits = part.dataset.text.includes(word)
      && (!group || part.dataset.group === group)
      && (!what || part.dataset.what.split(" ").includes(what));
    part.hidden = !fits;
    if (fits && part.tagName === "TR") shown += 1;
  }
  document.getElementById("count").textContent = `${shown} of ${parts.length / 2} variants shown`;
};
form.hidden = false;
form.addEventListener("input", apply);
form.addEventListener("submit", (event) => event.preventDefault());
// a link to a variant that the filter hides shows it
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.hidden) { form.reset(); apply(); target.scrollIntoView(); }
});
apply();
