// Makes the page more convenient; everything works without it.

/** Replace parts of this page by those of another one, and keep the focus where it was. */
function take(text, names) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const name of names) {
    const [old, next] = [document, fresh].map((page) => page.querySelector(`[data-swap="${name}"]`));
    if (!old || !next) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceWith(document.adoptNode(next));
    if (focused) document.getElementById(focused)?.focus();
  }
  prepare();
  return fresh;
}

// A live region announces only what changes while it is there.
const live = document.createElement("div");
live.className = "hidden";
live.setAttribute("aria-live", "polite");
document.querySelector(".plugreg")?.append(live);
function announce(words) {
  live.textContent = "";
  setTimeout(() => { live.textContent = words; }, 100);
}

/** Mark a box for all boxes, and say how many are ticked. */
function prepareBulk() {
  const bar = document.querySelector("[data-bulk]");
  const head = document.querySelector("table.plugins thead .select");
  if (!bar || !head || head.querySelector("input")) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", head.textContent.trim());
  const boxes = () => [...bar.form?.elements ?? bar.closest("form").elements]
    .filter((box) => box.name?.startsWith("plugin:"));
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
  });
  bar.closest("form").addEventListener("change", () => {
    const ticked = boxes().filter((box) => box.checked).length;
    all.checked = ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
  });
  head.append(all);
}

/** Filter while it is typed; the address follows. */
function prepareFilter() {
  const form = document.querySelector("form[data-filter]");
  if (!form || form.dataset.filter) return;
  form.dataset.filter = "ready";
  let last = 0;
  let waiting = 0;
  const show = async () => {
    const turn = ++last;
    const pairs = [...new FormData(form)].filter(([, value]) => value);
    const address = `${form.action}?${new URLSearchParams(pairs)}`;
    const answer = await fetch(address);
    if (!answer.ok || turn !== last) return;
    take(await answer.text(), ["list"]);
    history.replaceState(null, "", address);
    announce(document.querySelector("[data-announce]")?.textContent.trim() ?? "");
  };
  const soon = (delay) => { clearTimeout(waiting); waiting = setTimeout(show, delay); };
  form.addEventListener("input", (event) => soon(event.target.type === "search" ? 250 : 0));
  form.addEventListener("submit", (event) => { event.preventDefault(); soon(0); });
}

/** Follow an installation until it has ended. */
function prepareProgress() {
  const job = document.querySelector("[data-progress]");
  if (!job || job.dataset.progress === "followed") return;
  const delay = Number(job.dataset.progress) * 1000;
  job.dataset.progress = "followed";
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) { job.dataset.progress = String(delay / 1000); return prepareProgress(); }
    const fresh = take(await answer.text(), ["main"]);
    document.title = fresh.title;
    if (!fresh.querySelector("[data-progress]")) announce(fresh.querySelector("h1").textContent);
  }, delay);
}

/** Have a plugin draw its own panel. */
async function preparePanel() {
  const panel = document.querySelector("[data-panel]");
  if (!panel || panel.dataset.drawn) return;
  panel.dataset.drawn = "yes";
  try {
    const script = await import(new URL(panel.dataset.panel, location.href).href);
    await script.render(panel, JSON.parse(panel.dataset.context));
  } catch (error) {
    panel.textContent = `${panel.dataset.failed} ${error}`;
  }
}

function prepare() {
  prepareBulk();
  prepareFilter();
  prepareProgress();
  preparePanel();
}

prepare();
const message = document.querySelector(".message");
if (message) announce(message.innerText);
