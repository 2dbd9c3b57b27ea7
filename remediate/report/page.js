(function () {
  "use strict";
  var table = document.getElementById("machines");
  if (!table) { return; }
  var body = table.tBodies[0], all = Array.prototype.slice.call(body.rows), list = all, page = 0, size = 100;
  var filter = document.getElementById("filter"), status = document.getElementById("status");
  var shown = document.getElementById("shown"), back = document.getElementById("back"), forth = document.getElementById("forth");
  var texts = null, large = document.body.className === "large";

  function fill(rows) {
    var part = document.createDocumentFragment();
    rows.forEach(function (r) { part.appendChild(r); });
    body.textContent = "";
    body.appendChild(part);
  }
  function show() {
    var pages = Math.max(1, Math.ceil(list.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    fill(list.slice(page * size, (page + 1) * size));
    var from = list.length ? page * size + 1 : 0, to = Math.min(list.length, (page + 1) * size);
    shown.textContent = from.toLocaleString("en") + " to " + to.toLocaleString("en") + " of " + list.length.toLocaleString("en");
    back.disabled = page === 0;
    forth.disabled = page === pages - 1;
  }
  function select() {
    var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), want = status.value;
    if (words.length && !texts) { texts = new Map(all.map(function (r) { return [r, r.textContent.toLowerCase()]; })); }
    list = all.filter(function (r) {
      if (want && r.dataset.s !== want) { return false; }
      var t = texts && texts.get(r);
      return words.every(function (w) { return t.indexOf(w) >= 0; });
    });
    page = 0;
    show();
  }
  function sort(column, head, falling) {
    var order = new Intl.Collator("en", { numeric: true });
    var keys = new Map(all.map(function (r) { var c = r.cells[column]; return [r, c.dataset.v || c.textContent]; }));
    all.sort(function (a, b) { var d = order.compare(keys.get(a), keys.get(b)); return falling ? -d : d; });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (c) { c.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    select();
  }

  Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () { sort(column, head, head.getAttribute("aria-sort") === "ascending"); });
  });
  var timer = 0;
  filter.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(select, 120); });
  status.addEventListener("change", select);
  back.addEventListener("click", function () { page--; show(); });
  forth.addEventListener("click", function () { page++; show(); });
  document.querySelectorAll("a[data-status]").forEach(function (a) {
    a.addEventListener("click", function () { status.value = a.dataset.status; select(); });
  });
  // Paper gets the whole list as filtered and sorted; the style sheet leaves out of a large one what needs nothing more.
  window.addEventListener("beforeprint", function () {
    fill(large ? list.filter(function (r) { return r.className !== "q"; }) : list);
  });
  window.addEventListener("afterprint", show);
  document.querySelector(".tools").hidden = false;
  show();
})();
