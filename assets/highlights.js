// A click on a row of the highlights marks it and tells the page its rank.
element.addEventListener('click', (event) => {
  const row = event.target.closest('button[data-rank]');
  if (!row) return;
  for (const other of element.querySelectorAll('button[data-rank]')) other.setAttribute('aria-pressed', other === row);
  trigger('seek', {rank: Number(row.dataset.rank)});
});
