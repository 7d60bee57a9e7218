"use strict";
// Texts from data are only ever set as textContent; numbers build addresses.

const find = (id) => document.getElementById(id);
let state = null;
let chosen = 0;
let busy = false;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function address(pair, side) {
  return `image/${chosen}/${pair}/${side}`;
}

function show(fresh) {
  state = fresh;
  const select = find("dataset");
  if (select.options.length === 0) state.datasets.forEach((name) => select.append(element("option", name)));
  select.selectedIndex = chosen;
  find("count").textContent = `${state.done} of ${state.of} answered`;
  find("pair").hidden = state.next === null;
  find("finished").hidden = state.next !== null;
  if (state.next !== null) {
    find("evaluation").src = address(state.next, "evaluation");
    find("training").src = address(state.next, "training");
  }
  find("suggested").textContent = state.suggested === null
    ? "Not enough answers for a threshold yet."
    : `Suggested threshold: ${state.suggested.toFixed(3)}, the lowest with an estimated precision of 95%.`;
  find("bars").replaceChildren(...state.precision.flatMap((row) => {
    const meter = element("meter");
    meter.value = row.precision;
    const percent = (value) => `${(100 * value).toFixed(0)}%`;
    return [
      element("span", `from ${row.threshold.toFixed(3)}`),
      element("span", `${row.hits} hits`),
      meter,
      element("span", `${percent(row.precision)} (${percent(row.low)} to ${percent(row.high)})`),
    ];
  }));
  find("around").replaceChildren(...state.around.map((known) => {
    const figure = element("figure", undefined, known.above ? "above" : "below");
    for (const side of ["evaluation", "training"]) {
      const picture = element("img");
      picture.src = address(known.pair, side);
      picture.alt = side;
      figure.append(picture);
    }
    const place = known.above ? "above" : "below";
    figure.append(element("figcaption", `${place}: ${known.similarity.toFixed(3)} ${known.label} ${known.name}`));
    return figure;
  }));
}

async function ask(path, body) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
    find("error").hidden = true;
  } catch (error) {
    find("error").textContent = `Not saved: ${error.message}. Is the command still running?`;
    find("error").hidden = false;
  } finally {
    busy = false;
  }
}

function label(name) {
  if (state && state.next !== null) ask("label", { dataset: chosen, pair: state.next, label: name });
}

const keys = { d: () => label("duplicate"), n: () => label("different"), u: () => label("unsure"), z: () => ask("undo", { dataset: chosen }) };
document.addEventListener("keydown", (event) => {
  const act = keys[event.key.toLowerCase()];
  if (act && !event.ctrlKey && !event.metaKey && !event.altKey && event.target.tagName !== "SELECT") act();
});
document.querySelectorAll("button[data-label]").forEach((button) => button.addEventListener("click", () => label(button.dataset.label)));
document.querySelector("button[data-undo]").addEventListener("click", () => ask("undo", { dataset: chosen }));
find("dataset").addEventListener("change", (event) => {
  chosen = event.target.selectedIndex;
  event.target.blur();
  ask(`state/${chosen}`);
});
ask("state/0");
