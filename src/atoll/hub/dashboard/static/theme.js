// Light or dark, before anything is drawn: what the person chose, else what the system says.
(() => {
  const chosen = localStorage.getItem("atoll-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
