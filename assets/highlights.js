// A click on a highlight marks its row and triggers the event "seek" with its rank.
element.addEventListener('click', (event) => {
  const row = event.target.closest('button[data-rank]');
  if (!row) return;
  for (const other of element.querySelectorAll('button[data-rank]')) other.setAttribute('aria-pressed', other === row);
  trigger('seek', {rank: Number(row.dataset.rank)});
});
