// The page around player.js: loads each result, folds inputs, takes files that are dropped anywhere, and starts by itself.
const show = mountKuaiHL(element.querySelector('.view'), (event, detail) => {
  if (event === 'export') return trigger('export', detail);
  fold('settings', true);
  document.querySelector('#check-timing').click();
});
const load = async () => {
  const url = props.value;
  const answer = url && await fetch(url);
  if (answer?.ok && url === props.value) show(await answer.json());
};
watch('value', load);
load();

const folds = {inputs: 'new-recording', settings: 'open-settings'};
function fold(part, open) {
  document.body.classList.toggle(`show-${part}`, open);
  document.getElementById(folds[part])?.setAttribute('aria-expanded', String(open));
}
document.addEventListener('click', (event) => {
  for (const [part, button] of Object.entries(folds)) {
    if (event.target.id === button) fold(part, !document.body.classList.contains(`show-${part}`));
  }
  if (event.target.closest?.('#run')) cancelStart();
});

// Run starts when a recording is there: at once if its log is, else after a moment to add it.
const WAIT_S = 6;
let starting = 0;
function cancelStart() {
  clearInterval(starting);
  starting = 0;
  document.querySelector('#starting')?.replaceChildren();
}
window.kuaihlStart = (wait_s) => {
  const has = (part) => document.querySelector(`#${part} [data-testid="download-link"], #${part} a[download]`);
  let left_s = has('comments') ? 1 : (wait_s ?? WAIT_S);
  cancelStart();
  fold('inputs', true);
  const step = () => {
    if (!has('recording')) return cancelStart();
    const hint = document.querySelector('#starting');
    if (hint) hint.textContent = has('comments') ? 'Starting …' : `Starts in ${left_s} s. Add the chat log now, if you have it.`;
    if (left_s-- > 0 || document.querySelector('#run').disabled) return;
    document.querySelector('#run').click();
  };
  starting = setInterval(step, 1000);
  step();
};
window.kuaihlStarted = () => {
  cancelStart();
  fold('inputs', false);
  if (innerWidth <= 900) scrollTo({top: 0});
};

// Files dropped anywhere
const RECORDING = /\.(mp4|m4v|mov|mkv|webm|flv|ts|avi|mp3|m4a|wav|ogg|opus)$/i;
async function put(part, file) {
  const find = () => document.querySelector(`#${part} input[type=file]`);
  if (!find()) document.querySelector(`#${part} button[aria-label="Clear"]`)?.click();
  for (let i = 0; i < 40 && !find(); i++) await new Promise((done) => setTimeout(done, 50));
  const transfer = new DataTransfer();
  transfer.items.add(file);
  const input = find();
  if (!input) return;
  input.files = transfer.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
}
addEventListener('dragover', (event) => { if (event.dataTransfer?.types.includes('Files')) event.preventDefault(); });
addEventListener('drop', (event) => {
  const files = [...(event.dataTransfer?.files ?? [])];
  if (!files.length || event.target.closest?.('#inputs, #settings')) return;
  event.preventDefault();
  fold('inputs', true);
  for (const file of files) put(RECORDING.test(file.name) ? 'recording' : 'comments', file);
});
