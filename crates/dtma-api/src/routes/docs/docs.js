// Shows /openapi.json: operations by tag, then schemas; what does not fit the search is hidden. Text from the
// document only ever becomes text, never markup.
"use strict";

const $ = (id) => document.getElementById(id);

function el(name, attributes, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const json = (value) => el("pre", {}, JSON.stringify(value, null, 2));

function resolve(api, node) {
  if (!node || !node.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return el("a", { href: "#schema-" + name }, name);
  }
  const either = schema.oneOf || schema.anyOf;
  if (either) return el("span", {}, ...either.flatMap((one, i) => (i ? [" or ", kind(one)] : [kind(one)])));
  if (schema.items) return el("span", {}, "list of ", kind(schema.items));
  if (schema.enum) return schema.enum.join(" | ");
  const type = [].concat(schema.type || "any").join(" or ");
  return schema.additionalProperties && schema.additionalProperties !== true
    ? el("span", {}, "map of ", kind(schema.additionalProperties)) : type;
}

function row(...cells) {
  return el("tr", {}, ...cells.map((cell) => el("td", { className: "text" }, cell)));
}

function example(api, content) {
  const schema = resolve(api, content.schema) || {};
  const given = content.example ?? schema.example ?? (schema.examples || [])[0];
  return given === undefined ? null : json(given);
}

function body(api, content) {
  return Object.entries(content || {}).flatMap(([type, one]) => [
    el("p", {}, el("code", {}, type), " ", kind(one.schema)), example(api, one),
  ]);
}

function operation(api, path, method, op) {
  const inside = el("div", {}, el("p", { className: "text" }, op.description || ""));
  if (op.parameters?.length) {
    const rows = op.parameters.map((p) => row(
      el("code", {}, p.name), p.in + (p.required ? ", required" : ""), kind(p.schema), p.description || ""));
    inside.append(el("h4", {}, "Parameters"), el("table", {}, ...rows));
  }
  if (op.requestBody) inside.append(el("h4", {}, "Body"), ...body(api, op.requestBody.content).filter(Boolean));
  inside.append(el("h4", {}, "Answers"));
  for (const [status, reference] of Object.entries(op.responses)) {
    const answer = resolve(api, reference);
    const first = answer.description.split("\n")[0];
    inside.append(el("details", {}, el("summary", {}, el("b", {}, status), " ", answer["x-dtma-codes"]?.join(", ") ?? first),
      el("div", {}, el("p", { className: "text" }, answer.description), ...body(api, answer.content).filter(Boolean))));
  }
  const summary = el("summary", {},
    el("span", { className: "method" }, method.toUpperCase()), el("code", {}, path), " ", op.summary || "",
    el("span", { className: "scope" }, op["x-dtma-scope"] || "open"));
  const made = el("details", { id: op.operationId, className: "found" }, summary, inside);
  made.dataset.words = [method, path, op.operationId, op.summary, op.description].join(" ").toLowerCase();
  return made;
}

function schema(name, one) {
  const required = new Set(one.required || []);
  const rows = Object.entries(one.properties || {}).map(([field, property]) => row(
    el("code", {}, field), required.has(field) ? "required" : "", kind(property), property.description || ""));
  const inside = el("div", {}, el("p", { className: "text" }, one.description || ""),
    rows.length ? el("table", {}, ...rows) : el("p", {}, kind(one)));
  const given = one.example ?? (one.examples || [])[0];
  if (given !== undefined) inside.append(el("h4", {}, "Example"), json(given));
  const made = el("details", { id: "schema-" + name, className: "found" }, el("summary", {}, el("code", {}, name)), inside);
  made.dataset.words = [name, one.description, ...Object.keys(one.properties || {})].join(" ").toLowerCase();
  return made;
}

function show(api) {
  const groups = new Map((api.tags || []).map((tag) => [tag.name, el("section", {}, el("h2", {}, tag.description || tag.name))]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, op] of Object.entries(item)) {
      const tag = op.tags?.[0] ?? "daemon";
      if (!groups.has(tag)) groups.set(tag, el("section", {}, el("h2", {}, tag)));
      groups.get(tag).append(operation(api, path, method, op));
    }
  }
  const schemas = el("section", {}, el("h2", {}, "Schemas"));
  for (const [name, one] of Object.entries(api.components.schemas)) schemas.append(schema(name, one));
  $("content").replaceChildren(...groups.values(), schemas);
  search();
  open();
}

function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of document.querySelectorAll(".found")) {
    entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".found:not([hidden])");
  }
}

function open() {
  const meant = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (meant) { meant.open = true; meant.hidden = false; meant.scrollIntoView(); }
}

async function load() {
  const token = $("token").value.trim();
  const answer = await fetch("openapi.json", token ? { headers: { authorization: "Bearer " + token } } : {});
  if (answer.ok) {
    show(await answer.json());
    $("state").hidden = true;
    return;
  }
  $("token").hidden = false;
  $("state").hidden = false;
  const failure = await answer.json().catch(() => ({}));
  $("state").textContent = answer.status === 401 && !token
    ? "This daemon shows its API to those with a token: give one with the scope read above. It stays in this page."
    : failure.message || "HTTP " + answer.status;
}

const tried = () => load().catch((error) => { $("state").hidden = false; $("state").textContent = String(error); });
$("search").addEventListener("input", search);
$("token").addEventListener("change", tried);
addEventListener("hashchange", open);
tried();
