// A job's log as it comes. Who has scrolled up reads on in peace; who is at the end stays there.
(() => {
  const MOST_CHARACTERS = 2_000_000; // more, and the browser lays out text that nobody looks at
  const log = document.getElementById("log");
  const state = document.getElementById("log-state");
  if (!log) return;
  const abort = new AbortController();
  window.addEventListener("pagehide", () => abort.abort());

  const add = (text) => {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(text);
    while (log.textContent.length > MOST_CHARACTERS) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  };
  const read = async () => {
    const answer = await fetch(log.dataset.log, { signal: abort.signal });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      state.textContent = problem.message || `no log: ${answer.status}`;
      return;
    }
    state.textContent = "the last 1000 lines, and what comes";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      add(value);
    }
    state.textContent = log.textContent ? "the log is at its end" : "it printed nothing";
  };
  read().catch((error) => {
    if (error.name !== "AbortError") state.textContent = "the connection broke: load the page again";
  });
})();
