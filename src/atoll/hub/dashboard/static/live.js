// Live updates: the hub names the kinds that changed, and every part of the page that shows one is drawn anew.
// A page that is hidden does not listen: browsers open six connections per host, and tabs are many.
(() => {
  // What a person has opened stays open: the hub does not know of it.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.localName === "details");

  const topics = document.body.dataset.topics;
  if (!topics) return;
  const pulse = document.getElementById("pulse");
  const words = { live: "live", waiting: "connecting", off: "not live: load the page again" };
  let source = null;

  const show = (state) => {
    pulse.dataset.state = state;
    pulse.textContent = words[state];
  };
  const refresh = (changed) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      if (!changed || part.dataset.live.split(" ").some((topic) => changed.has(topic))) htmx.trigger(part, "live");
    }
  };
  let opened = 0;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource("/dashboard/live?topics=" + encodeURIComponent(topics));
    source.addEventListener("hello", () => {
      show("live");
      if (opened++) refresh(null); // what changed meanwhile was not heard
    });
    source.addEventListener("changed", (event) => refresh(new Set(event.data.split(" "))));
    source.onerror = () => {
      const over = source.readyState === EventSource.CLOSED;
      show(over ? "off" : "waiting");
      if (over) source = null;
    };
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
})();
