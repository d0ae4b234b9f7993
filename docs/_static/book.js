// What scrolls can be reached with the keyboard, also when it begins to scroll because a fold opens or the window shrinks.
// The theme looks only once, and before that.
const watch = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    target.tabIndex = scrolls ? 0 : -1;
  }
});
for (const box of document.querySelectorAll("pre, .pst-scrollable-table-container, .tag_scroll-output .cell_output")) watch.observe(box);
