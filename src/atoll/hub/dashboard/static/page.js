// What pages do without the hub: ages tick, commands are copied, keys lead around, the theme is switched.
(() => {
  const steps = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const duration = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const at = steps.findIndex(([size]) => whole >= size);
    if (at < 0) return "0s";
    const [size, unit] = steps[at];
    const count = Math.floor(whole / size);
    const rest = whole % size;
    const next = steps[at + 1];
    if (!next || count >= 10 || rest < next[0]) return count + unit;
    return `${count}${unit} ${Math.floor(rest / next[0])}${next[1]}`; // as words.duration of the hub
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-age]")) {
      const text = duration((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => document.hidden || tick(), 1000);

  const say = (text, tone) => {
    const note = document.createElement("p");
    note.className = `note ${tone || ""}`;
    note.textContent = text;
    document.getElementById("notes").replaceChildren(note);
  };
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("copied");
    } catch {
      const range = document.createRange(); // without TLS a browser gives no clipboard: select it instead
      range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  // What has to be confirmed, is; the hub asks again where this script has not.
  const ask = (form) => {
    const dialog = document.getElementById("sure");
    const [leave, go] = dialog.querySelectorAll("button");
    const [label, typed] = [dialog.querySelector("label"), dialog.querySelector("input")];
    const name = form.dataset.typed || "";
    dialog.querySelector("h2").textContent = form.dataset.confirm;
    dialog.querySelector("code").textContent = form.querySelector(".command code").textContent;
    label.hidden = !name;
    label.querySelector("b").textContent = name;
    typed.value = "";
    typed.oninput = () => (go.disabled = typed.value.trim() !== name);
    typed.oninput();
    const button = form.querySelector("button");
    [go.textContent, go.className] = [button.textContent, button.className || "primary"];
    dialog.returnValue = "";
    dialog.showModal();
    (name ? typed : leave).focus();
    return new Promise((answered) =>
      dialog.addEventListener("close", () => answered(dialog.returnValue === "yes" && { sure: "yes", typed: name }), { once: true }),
    );
  };
  document.addEventListener("htmx:confirm", (event) => {
    const form = event.detail.elt;
    if (!form.dataset.confirm) return;
    event.preventDefault();
    ask(form).then((answer) => {
      if (!answer) return;
      confirmed.set(form, answer);
      event.detail.issueRequest(true);
    });
  });
  const confirmed = new WeakMap();
  document.addEventListener("htmx:configRequest", (event) => {
    for (const [name, value] of Object.entries(confirmed.get(event.detail.elt) || {})) event.detail.parameters.set(name, value);
    confirmed.delete(event.detail.elt);
  });
  // The command beside a button says what was chosen.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form.act");
    if (!form) return;
    const { begin, end } = event.target.dataset;
    const text = begin + event.target.value + end;
    form.querySelector(".command code").textContent = text;
    form.querySelector("[data-copy]").dataset.copy = text;
  });
  // Answers that refuse carry a note to show; htmx leaves such answers out unless told.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    if (target.id === "notes" && xhr.status >= 400) event.detail.shouldSwap = true;
  });

  document.getElementById("theme")?.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("atoll-theme", root.dataset.theme);
    document.dispatchEvent(new Event("atoll:theme"));
  });

  const rows = () => [...document.querySelectorAll("[data-rows] a[data-row]")].filter((row) => row.offsetParent);
  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))].focus();
  };
  const keys = {
    "/": () => document.querySelector("[data-search]")?.focus(),
    j: () => move(1),
    ArrowDown: () => rows().includes(document.activeElement) && move(1),
    k: () => move(-1),
    ArrowUp: () => rows().includes(document.activeElement) && move(-1),
    n: () => document.querySelector("a[rel=next]")?.click(),
    p: () => document.querySelector("a[rel=prev]")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && writes) return writes.blur();
    if (writes || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    if (keys[event.key]() !== false) event.preventDefault();
  });
})();
