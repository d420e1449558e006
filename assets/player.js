// Draws a prediction, as kuaihl/export/view.py writes it: player, curve that is the seek bar, cards, chat, transcript,
// explanation, numbers. The page and the report share this file.
//
// mountKuaiHL(element, send) returns show(data). `send(event, detail)` asks the page for files; a report has no page.
function mountKuaiHL(root, send = null) {
  let data, kept, selected, loop, live = false, now = 0;

  // --- Helpers
  const h = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else if (name === 'style') node.style.cssText = value;
      else if (value === true) node.setAttribute(name, '');
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child != null));
    return node;
  };
  const clock = (time) => {
    const s = Math.round(time), pad = (n) => String(n).padStart(2, '0');
    return s >= 3600 ? `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}` : `${Math.floor(s / 60)}:${pad(s % 60)}`;
  };
  const percent = (score) => (score == null ? '–' : `${(100 * score).toFixed(1)} %`);
  const at = (time) => `${(100 * Math.min(Math.max(time / data.duration_s, 0), 1)).toFixed(3)}%`;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const upTo = (rows, time) => {  // how many rows start at or before a time
    let low = 0, high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle][0] <= time) low = middle + 1; else high = middle;
    }
    return low;
  };
  const segmentAt = (time) => clamp(data.starts_s.findLastIndex((start) => start <= time), 0, data.starts_s.length - 1);
  const timeButton = (time, text = clock(time)) =>
    h('button', {type: 'button', class: 'time', title: 'Play from here', onclick: () => play(time)}, text);
  const save = (name, text) => {
    const link = h('a', {href: URL.createObjectURL(new Blob([text])), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // --- Parts
  const video = h('video', {controls: true, playsinline: true, preload: 'auto', 'aria-label': 'Recording'});
  const captions = h('track', {kind: 'captions', srclang: 'en', label: 'Captions'});
  video.append(captions);
  const still = h('img', {class: 'still', alt: '', hidden: true});
  const note = h('p', {class: 'note', hidden: true});
  const stage = h('div', {class: 'stage'}, video, still, note);
  const banner = h('div', {class: 'banner', hidden: true});
  const NS = 'http://www.w3.org/2000/svg';
  const line = (name) => {
    const path = document.createElementNS(NS, 'path');
    path.setAttribute('class', name);
    path.setAttribute('vector-effect', 'non-scaling-stroke');
    return path;
  };
  const layer = (...paths) => {
    const svg = document.createElementNS(NS, 'svg');
    svg.setAttribute('viewBox', '0 0 1000 100');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    svg.append(...paths);
    return svg;
  };
  const paths = Object.fromEntries(['messages', 'area', 'reaction', 'mean', 'forecast'].map((name) => [name, line(name)]));
  const measured = layer(paths.messages, paths.area, paths.reaction), predicted = layer(paths.mean, paths.forecast);
  const bands = h('div', {class: 'bands'}), playhead = h('div', {class: 'playhead'}), axis = h('div', {class: 'axis'});
  const seek = h('div', {class: 'seek', role: 'slider', tabindex: 0, 'aria-label': 'Time in the recording', 'aria-valuemin': 0});
  const preview = h('video', {muted: true, preload: 'none', 'aria-hidden': 'true', tabindex: -1});
  preview.muted = true;
  const hoverTime = h('b'), hoverWords = h('span');
  const hover = h('div', {class: 'hover', hidden: true}, preview, h('p', {}, hoverTime, hoverWords));
  const curve = h('div', {class: 'curve'}, measured, predicted, seek, bands, playhead, hover);
  const legend = h('div', {class: 'legend'});
  const liveButton = h('button', {type: 'button', class: 'small', 'aria-pressed': 'false', onclick: () => setLive(!live),
    title: 'Watch as if it were live: nothing is shown before its time'}, 'Live replay');
  const rate = h('select', {'aria-label': 'Speed of the live replay', hidden: true, onchange: () => { video.playbackRate = Number(rate.value); }},
    [1, 4, 16].map((n) => h('option', {value: n}, `${n}×`)));
  const liveText = h('p', {class: 'live-text', 'aria-live': 'off', hidden: true});
  const alignment = h('figure', {class: 'alignment', hidden: true});
  const total = h('span', {class: 'total'});
  const heading = h('h2');
  const budget = h('input', {type: 'range', min: 0, step: 5, oninput: () => keepWithin(Number(budget.value))});
  const budgetLabel = h('label', {class: 'budget'}, h('span', {}, 'Length'), budget);
  const cards = h('ol', {class: 'cards'});
  const panels = {Chat: h('ol', {class: 'chat'}), Transcript: h('ol', {class: 'transcript'}), Why: h('div', {class: 'why'}), Data: h('div', {class: 'data'})};
  const serial = mountKuaiHL.count = (mountKuaiHL.count ?? 0) + 1;
  const tabs = Object.keys(panels).map((name) => h('button', {type: 'button', role: 'tab', id: `kuaihl-${serial}-${name}`,
    'aria-controls': `kuaihl-${serial}-${name}-panel`, onclick: () => openTab(name)}, name));
  const wraps = tabs.map((tab) => h('div', {class: 'panel', role: 'tabpanel', id: `${tab.id}-panel`, 'aria-labelledby': tab.id, tabindex: 0, hidden: true}, panels[tab.textContent]));
  const tablist = h('div', {role: 'tablist', 'aria-label': 'Details', onkeydown: (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    openTab(next.textContent);
  }}, tabs);
  const format = h('select', {'aria-label': 'Shape of the clips', onchange: () => { crop.parentElement.hidden = format.value !== 'vertical'; }},
    h('option', {value: 'filmed'}, 'As filmed'), h('option', {value: 'vertical'}, 'Vertical 9:16'));
  const crop = h('input', {type: 'range', min: 0, max: 1, step: 0.05, value: 0.5});
  const captioned = h('select', {'aria-label': 'Captions of the clips'}, [['none', 'No captions'], ['srt', 'Captions as SRT'], ['burnt', 'Captions in the picture']]
    .map(([value, text]) => h('option', {value}, text)));
  const ask = (name, text, title) => h('button', {type: 'button', title, 'data-export': name, onclick: () => exportFile(name)}, text);
  const exports = h('div', {class: 'exports'},
    h('span', {class: 'group'}, h('button', {type: 'button', class: 'primary', 'data-export': 'clips', onclick: () => exportFile('clips')}, 'Download kept clips'),
      format, h('label', {hidden: true}, 'left', crop, 'right'), captioned),
    h('span', {class: 'group'}, ask('chapters.txt', 'Chapters', 'Chapters for the description of a YouTube video'),
      ask('highlights.otio', 'Resolve', 'OpenTimelineIO, for DaVinci Resolve'), ask('highlights.edl', 'Premiere', 'Edit decision list, for Premiere Pro'),
      ask('report.html', 'Report', 'One page that opens offline'), ask('segments.csv', 'CSV', 'All numbers as a table'), ask('prediction.json', 'JSON', 'All results')));
  const picker = h('label', {class: 'picker'}, 'Open the recording to play it here: ',
    h('input', {type: 'file', accept: 'video/*,audio/*', onchange: (event) => setVideo(URL.createObjectURL(event.target.files[0]))}));
  root.classList.add('kuaihl');
  root.replaceChildren(banner,
    h('div', {class: 'left'}, stage, curve, axis, h('div', {class: 'below'}, legend, h('span', {class: 'live'}, liveButton, rate)), liveText, alignment),
    h('div', {class: 'right'}, h('div', {class: 'inner'}, h('div', {class: 'head'}, heading, total, budgetLabel), cards, tablist, wraps)),
    send ? exports : picker);

  // --- Player
  function setVideo(url) {
    video.src = url;
    preview.src = url;
    video.hidden = false;
    still.hidden = note.hidden = true;
  }
  function play(time) {
    if (time != null) goTo(time);
    if (!video.hidden) video.play().catch(() => {});
  }
  function goTo(time) {
    now = clamp(time, 0, data.duration_s);
    if (!video.hidden) video.currentTime = now;
    else { stillAt(now); tick(now); }
  }
  function stillAt(time) {
    const near = data.cards.find((card) => card.still && card.start_s <= time && time < card.end_s) ?? (still.src ? null : data.cards.find((card) => card.still));
    if (near) { still.src = near.still; still.alt = `The recording at ${clock(near.peak_s)}`; still.hidden = false; }
  }
  const time = () => (video.hidden ? now : video.currentTime);
  function tick(current = time()) {
    if (!data) return;
    if (loop && !video.paused && (current >= loop.end_s || current < loop.start_s - 0.3)) { video.currentTime = loop.start_s; return; }
    playhead.style.left = at(current);
    seek.setAttribute('aria-valuenow', Math.round(current));
    seek.setAttribute('aria-valuetext', clock(current));
    const card = data.cards.find((card) => card.start_s <= current && current < card.end_s);
    if (card !== selected) { selected = card; markSelected(); }
    if (live) reveal(current);
    fillTab(current);
  }
  let frame = 0;
  const animate = () => { cancelAnimationFrame(frame); tick(); if (!video.paused && root.isConnected) frame = requestAnimationFrame(animate); };
  for (const name of ['play', 'seeked', 'pause', 'loadedmetadata', 'seeking', 'timeupdate']) video.addEventListener(name, animate);
  video.addEventListener('error', () => { if (data?.player && video.src) { note.textContent = 'The recording cannot be played here.'; note.hidden = false; } });

  // --- Curve: a click plays, hovering previews, arrow keys seek
  const timeOf = (event) => {
    const box = curve.getBoundingClientRect();
    return clamp((event.clientX - box.left) / box.width, 0, 1) * data.duration_s;
  };
  seek.addEventListener('click', (event) => { loop = null; markLoop(); play(timeOf(event)); });
  seek.addEventListener('keydown', (event) => {
    const step = {ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5, PageUp: 60, PageDown: -60}[event.key];
    const goal = event.key === 'Home' ? 0 : event.key === 'End' ? data.duration_s : step && time() + step;
    if (goal != null) goTo(goal);
    else if (event.key === 'Enter') play();
    else if (event.key === ' ') { if (video.paused) play(); else video.pause(); }
    else return;
    event.preventDefault();
  });
  seek.addEventListener('pointermove', (event) => {
    const current = timeOf(event), box = curve.getBoundingClientRect(), said = data.transcript[upTo(data.transcript, current) - 1];
    hover.hidden = event.pointerType === 'touch' || live;
    hoverTime.textContent = clock(current);
    const count = data.messages?.[segmentAt(current)];
    hoverWords.textContent = (count == null ? '' : ` ${count} messages in 30 s`) + (said && said[1] > current - 3 ? ` “${said[2].slice(0, 90)}”` : '');
    hover.style.left = `${clamp(event.clientX - box.left - 110, 0, Math.max(box.width - 220, 0))}px`;
    preview.hidden = video.hidden || !data.has_pictures;
    if (!preview.hidden && (preview.readyState === 0 || !preview.seeking)) preview.currentTime = current;
  });
  seek.addEventListener('pointerleave', () => { hover.hidden = true; });

  function drawCurve() {
    const x = (t) => (1000 * t) / data.duration_s, top = 12, bottom = 84;
    const scaled = (values) => {
      const known = values.filter((v) => v != null), low = Math.min(...known), high = Math.max(...known), room = Math.max(high - low, 1e-9);
      return (v) => bottom - ((bottom - top) * (v - low)) / room;
    };
    const path = (points) => points.map(([px, py], i) => `${i && points[i - 1][1] != null ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join('');
    paths.mean.setAttribute('d', '');
    paths.forecast.setAttribute('d', '');
    const scores = data.forecast;
    if (scores.some((s) => s != null)) {
      const flat = Math.max(...scores) - Math.min(...scores.filter((s) => s != null)) < 0.05;
      const y = flat ? (v) => 48 - 700 * (v - data.usual) : scaled(scores);
      const points = scores.map((s, i) => s == null ? null : [x((data.starts_s[i] + data.ends_s[i]) / 2), y(s)]).filter(Boolean);
      if (data.next_score != null) points.push([1000, clamp(y(data.next_score), 2, 90)]);
      paths.forecast.setAttribute('d', path(points));
      if (data.usual != null) paths.mean.setAttribute('d', `M0 ${y(data.usual)}H1000`);
    }
    const reaction = data.reaction?.scores;
    const points = reaction?.length ? (() => {
      const y = scaled(reaction);
      return reaction.map((s, i) => [x(Math.min((i + 0.5) * data.reaction.bin_s, data.duration_s)), y(s)]);
    })() : [];
    paths.reaction.setAttribute('d', path(points));
    paths.area.setAttribute('d', points.length ? `${path(points)}L${points.at(-1)[0]} 100L${points[0][0]} 100Z` : '');
    const most = Math.max(1, ...(data.messages ?? [1]));
    paths.messages.setAttribute('d', (data.messages ?? []).map((n, i) =>
      n ? `M${x(data.starts_s[i]) + 0.4} 100V${100 - (22 * n) / most}H${x(data.ends_s[i]) - 0.4}V100Z` : '').join(''));
    curve.classList.toggle('by-reaction', data.by === 'reaction');
    const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400], width = curve.clientWidth || 800;
    const step = steps.find((s) => (s / data.duration_s) * width >= 64) ?? 28800;
    axis.replaceChildren(...Array.from({length: Math.floor(data.duration_s / step) + 1}, (_, i) => i * step)
      .filter((t) => t / data.duration_s < 1 - 20 / width).map((t) => h('span', {style: `left:${at(t)}`}, clock(t))));
    const key = (name, text, title) => h('span', {class: name, title}, h('i'), text);
    legend.replaceChildren(...[
      points.length && key('reaction', data.reaction.too_little ? 'Reaction (too little chat to rank)' : 'Reaction', 'How strongly this audience reacted: measured from the chat, with hindsight'),
      scores.some((s) => s != null) && key('forecast', `Forecast (${data.target})`, data.target === 'LVTR'
        ? 'Share of new viewers that a model trained on simulated rooms expects to stay, from the past only' : `Predicted ${data.target}, from the past only. Learned from: ${data.trained_on}`),
      scores.some((s) => s != null) && key('mean', 'usual forecast'), data.messages && key('messages', 'messages')].filter(Boolean));
  }
  new ResizeObserver(() => data && drawCurve()).observe(curve);

  // --- Cards and bands
  const isKept = (card) => kept.get(card.rank).keep;
  const span = (card) => kept.get(card.rank);
  const clips = () => data.cards.filter(isKept).map((card) => ({rank: card.rank, start_s: span(card).start_s, end_s: span(card).end_s}));
  function keepWithin(limit_s) {
    let sum_s = 0;
    for (const card of data.cards) {
      const length_s = span(card).end_s - span(card).start_s;
      span(card).keep = sum_s + length_s <= limit_s + 0.5;
      if (span(card).keep) sum_s += length_s; else limit_s = Math.min(limit_s, sum_s);
    }
    changed();
  }
  function changed() {
    const list = clips(), sum_s = list.reduce((sum, clip) => sum + clip.end_s - clip.start_s, 0);
    heading.textContent = `Best moments (${list.length}${list.length < data.cards.length ? ` of ${data.cards.length}` : ''})`;
    total.textContent = list.length ? `total ${clock(sum_s)}` : '';
    budget.value = sum_s;
    budget.setAttribute('aria-valuetext', clock(sum_s));
    for (const item of cards.children) {
      const card = data.cards[item.dataset.i];
      if (!card) continue;
      item.classList.toggle('dropped', !isKept(card));
      item.querySelector('input').checked = isKept(card);
      item.querySelector('.span').textContent = `${clock(span(card).start_s)}–${clock(span(card).end_s)}`;
    }
    for (const band of bands.children) placeBand(band);
    for (const button of exports.querySelectorAll('[data-export]')) button.disabled = !data.files || (['clips', 'chapters.txt', 'highlights.otio', 'highlights.edl'].includes(button.dataset.export) && !list.length);
    try { if (data.id) sessionStorage['kuaihl-kept'] = JSON.stringify([data.id, [...kept]]); } catch { /* a browser without storage */ }
  }
  function placeBand(band) {
    const card = data.cards[band.dataset.i], {start_s, end_s, keep} = span(card);
    band.style.left = at(start_s);
    band.style.width = `calc(${at(end_s)} - ${at(start_s)})`;
    band.classList.toggle('dropped', !keep);
    for (const handle of band.querySelectorAll('.handle')) {
      handle.hidden = !keep;
      const value = handle.dataset.side === 'start' ? start_s : end_s;
      handle.setAttribute('aria-valuenow', Math.round(value));
      handle.setAttribute('aria-valuetext', clock(value));
    }
  }
  function moveEdge(card, side, value) {
    const clip = span(card);
    if (side === 'start') clip.start_s = clamp(value, 0, clip.end_s - 2);
    else clip.end_s = clamp(value, clip.start_s + 2, data.duration_s);
    if (loop?.rank === card.rank) loop = {...clip, rank: card.rank};
    changed();
  }
  function drawCards() {
    cards.replaceChildren(...data.cards.map((card, i) => {
      const name = `moment ${card.rank}`, clip = () => span(card);
      const start = () => { loop = null; markLoop(); play(clip().start_s); };
      return h('li', {'data-i': i, 'data-rank': card.rank},
        h('label', {class: 'keep', title: 'Keep'}, h('input', {type: 'checkbox', 'aria-label': `Keep ${name}`, onchange: (event) => { clip().keep = event.target.checked; changed(); }}), h('b', {}, card.rank)),
        h('button', {type: 'button', class: 'picture', 'aria-label': `Play ${name} from its picture`, tabindex: -1, onclick: start}, card.still ? h('img', {src: card.still, alt: ''}) : h('span', {class: 'sound'}, '♪')),
        h('div', {class: 'text'},
          h('p', {class: 'when'}, h('span', {class: 'span'}),
            h('button', {type: 'button', class: 'copy', 'aria-label': `Copy the time of ${name}`, onclick: async (event) => {
              const button = event.currentTarget;
              await navigator.clipboard?.writeText(`${clock(clip().start_s)}–${clock(clip().end_s)}`).catch(() => {});
              button.textContent = 'Copied';
              setTimeout(() => { button.textContent = 'Copy'; }, 1500);
            }}, 'Copy'),
            h('span', {class: `strength ${card.strength}`}, card.strength)),
          h('p', {class: 'words'}, ...whyOf(card)),
          card.speech ? h('p', {class: 'said', title: card.speech}, `“${card.speech}”`) : null,
          h('p', {class: 'actions'},
            h('button', {type: 'button', class: 'play', 'aria-label': `Play ${name}`, onclick: start}, '▶ Play'),
            h('button', {type: 'button', class: 'loop', 'aria-label': `Loop ${name}`, 'aria-pressed': 'false', onclick: () => {
              loop = loop?.rank === card.rank ? null : {...clip(), rank: card.rank};
              markLoop();
              if (loop) play(loop.start_s);
            }}, '⟲ Loop'),
            send && h('button', {type: 'button', class: 'cut', 'aria-label': `Download the clip of ${name}`, onclick: () => exportFile('clips', [{rank: card.rank, start_s: clip().start_s, end_s: clip().end_s}])}, '✂ Clip'))));
    }));
    if (!data.cards.length) cards.replaceChildren(h('li', {class: 'none'}, data.partial ? 'The moments appear when the recording has been read.' : 'No part of this recording stands out.'));
    bands.replaceChildren(...data.cards.map((card, i) => {
      const edge = (side) => {
        const handle = h('div', {class: `handle ${side}`, 'data-side': side, role: 'slider', tabindex: 0, 'aria-label': `${side === 'start' ? 'Start' : 'End'} of moment ${card.rank}`,
          'aria-valuemin': 0, 'aria-valuemax': Math.round(data.duration_s)});
        handle.addEventListener('pointerdown', (event) => { handle.setPointerCapture(event.pointerId); event.preventDefault(); handle.focus({preventScroll: true}); });
        handle.addEventListener('pointermove', (event) => { if (handle.hasPointerCapture(event.pointerId)) moveEdge(card, side, timeOf(event)); });
        handle.addEventListener('keydown', (event) => {
          const step = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10}[event.key];
          if (step) { moveEdge(card, side, span(card)[`${side}_s`] + step); event.preventDefault(); }
        });
        return handle;
      };
      return h('div', {class: 'band', 'data-i': i, 'data-rank': card.rank},
        h('button', {type: 'button', class: 'rank', tabindex: -1, 'aria-label': `Play moment ${card.rank}`, onclick: () => play(span(card).start_s)}, card.rank), edge('start'), edge('end'));
    }));
  }
  function whyOf(card) {
    if (card.words.length) return ['Chat: ', ...card.words.flatMap(([word, count], i) => [i ? ', ' : '', h('b', {}, word), ` ×${count}`])];
    if (card.source === 'reaction') return [card.why];
    const index = data.starts_s.findIndex((start, i) => start <= card.peak_s && card.peak_s < data.ends_s[i]);
    const best = Object.entries(data.waterfall ?? {}).filter(([name]) => name !== 'other').sort((a, b) => b[1][index] - a[1][index])[0];
    return ['More viewers than usual should stay' + (best && best[1][index] > 0 ? `, mostly for the ${best[0]}` : '')];
  }
  function markSelected() {
    for (const item of [...cards.children, ...bands.children]) item.classList.toggle('selected', Boolean(selected) && Number(item.dataset.rank) === selected.rank);
    const item = [...cards.children].find((li) => li.classList.contains('selected'));
    if (item && cards.scrollHeight > cards.clientHeight + 4) cards.scrollTo({top: item.offsetTop - cards.offsetTop, behavior: 'auto'});
  }
  function markLoop() {
    for (const item of cards.children) item.querySelector('.loop')?.setAttribute('aria-pressed', String(loop?.rank === Number(item.dataset.rank)));
  }
  function exportFile(name, list = clips()) {
    send('export', {name, clips: list, vertical: format.value === 'vertical', crop: Number(crop.value), captions: captioned.value});
  }

  // --- Tabs
  let open = 'Chat', filled = null;
  function openTab(name) {
    open = name;
    filled = null;
    tabs.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(tab.textContent === name));
      tab.tabIndex = tab.textContent === name ? 0 : -1;
      wraps[i].hidden = tab.textContent !== name;
    });
    alignment.hidden = name !== 'Data' || !data?.alignments.length;
    if (data) { if (name === 'Data') drawData(); fillTab(time()); }
  }
  function fillTab(current) {
    if (open === 'Chat') fillChat(current);
    else if (open === 'Transcript') fillTranscript(current);
    else if (open === 'Why') fillWhy(current);
  }
  const MOST = 120;
  function fillChat(current) {
    const list = panels.Chat, chat = data.chat;
    if (!chat) { if (filled !== 'none') { filled = 'none'; list.replaceChildren(h('li', {class: 'none'}, data.chat_url ? 'Loading the chat …' : 'No chat log.')); } return; }
    const count = upTo(chat, current), box = list.parentElement;
    if (filled === count) return;
    const stay = typeof filled === 'number' && box.scrollTop + box.clientHeight < box.scrollHeight - 40;
    const message = ([t, user, text]) => h('li', {title: clock(t), onclick: () => play(t)}, h('span', {class: 'at'}, clock(t)), user ? h('b', {}, user) : null, h('span', {}, text));
    if (typeof filled === 'number' && count > filled && count - filled < MOST) list.append(...chat.slice(filled, count).map(message));
    else list.replaceChildren(...chat.slice(Math.max(0, count - MOST), count).map(message));
    while (list.children.length > MOST) list.firstChild.remove();
    filled = count;
    if (!count) list.replaceChildren(h('li', {class: 'none'}, 'The chat appears here as the recording plays.'));
    if (!stay) box.scrollTop = box.scrollHeight;
  }
  function fillTranscript(current) {
    const list = panels.Transcript, index = upTo(data.transcript, current) - 1;
    if (filled === null) {
      list.replaceChildren(...(data.transcript.length ? data.transcript.map(([start, , text]) => h('li', {}, timeButton(start), h('span', {onclick: () => play(start)}, text)))
        : [h('li', {class: 'none'}, data.partial ? 'The speech is being recognised.' : 'No speech.')]));
    }
    if (filled === index) return;
    filled = index;
    for (const item of list.querySelectorAll('.now')) item.classList.remove('now');
    const item = data.transcript.length && list.children[index], box = list.parentElement;
    if (!item) return;
    item.classList.add('now');
    box.scrollTop = item.offsetTop - box.offsetTop - box.clientHeight / 3;
  }
  function fillWhy(current) {
    const index = segmentAt(current), card = selected, key = `${index} ${card?.rank}`;
    if (filled === key) return;
    filled = key;
    const start = data.starts_s[index], end = data.ends_s[index], parts = [];
    if (card) parts.push(h('h3', {}, `Moment ${card.rank}, `, timeButton(card.start_s, `${clock(card.start_s)}–${clock(card.end_s)}`)));
    if (card?.source === 'reaction') parts.push(h('p', {}, `The chat reacted: ${card.why}.`));
    const score = data.forecast[index], usual = data.usual;
    if (data.waterfall && score != null && usual != null) {
      const steps = Object.entries(data.waterfall).map(([name, values]) => [name, values[index] ?? 0]).filter(([name, value]) => name !== 'other' || Math.abs(value) >= 0.0005);
      const level = (value) => Math.round(1000 * value) / 10;  // the steps are those of rounded levels, so that they add up
      const levels = steps.reduce((all, [, value]) => [...all, all.at(-1) + value], [usual]);
      levels[levels.length - 1] = score;
      const least = Math.min(...levels), most = Math.max(...levels), room = 1.25 * Math.max(most - least, 1e-6), low = most - room;
      const bar = (from, to, kind) => h('td', {class: 'bar'}, h('i', {class: kind, style: `left:${(100 * (Math.min(from, to) - low)) / room}%;width:${Math.max((100 * Math.abs(to - from)) / room, 0.8)}%`}));
      const row = (name, value, ...rest) => h('tr', {}, h('th', {scope: 'row'}, name), h('td', {}, value), ...rest);
      const step = (i) => { const d = (level(levels[i + 1]) - level(levels[i])).toFixed(1); return d > 0 ? `+${d}` : d.replace('-', '−'); };
      parts.push(h('h3', {}, `Forecast at `, timeButton(start, `${clock(start)}–${clock(end)}`), h('small', {}, ' in percentage points')),
        h('table', {class: 'waterfall'}, h('tbody', {}, row('usual level', level(usual).toFixed(1), bar(low, usual, 'level')),
          ...steps.map(([name], i) => row(name, step(i), bar(levels[i], levels[i + 1], levels[i + 1] >= levels[i] ? 'up' : 'down'))),
          row('this forecast', level(score).toFixed(1), bar(low, score, 'level')))));
    } else if (score == null) parts.push(h('p', {}, data.partial ? 'The forecast is being computed.' : 'No forecast for the first 30 s: nothing came before.'));
    else parts.push(h('p', {}, `Forecast ${percent(score)}, usually ${percent(usual)}.`));
    if (card?.earlier?.length) {
      parts.push(h('h3', {}, 'What came before and mattered most'), h('ol', {class: 'earlier'}, card.earlier.map((before) => h('li', {}, timeButton(before.start_s),
        ...Object.entries(before.contributions).map(([name, value]) => h('span', {}, `${name} ${value >= 0 ? '+' : '−'}${(100 * Math.abs(value)).toFixed(1)}`)),
        before.speech ? h('q', {}, before.speech.slice(0, 120)) : null, before.comments.length ? h('small', {}, before.comments.slice(0, 4).map(([text, n]) => (n > 1 ? `${text} ×${n}` : text)).join(' · ').slice(0, 140)) : null))));
    }
    panels.Why.replaceChildren(...parts);
  }
  const cell = (value) => (/[",\n]/.test(String(value ?? '')) ? `"${String(value).replaceAll('"', '""')}"` : (value ?? ''));
  const table = (rows) => rows.map((row) => row.map(cell).join(',')).join('\n') + '\n';
  function drawData() {
    const names = Object.keys(data.waterfall ?? {});
    const download = (name, rows) => h('button', {type: 'button', class: 'small', onclick: () => save(name, table(rows()))}, name);
    const number = (value, digits) => (value == null ? '–' : value.toFixed(digits));
    const peak = (i) => { const r = data.reaction; if (!r) return null; const inside = r.scores.slice(Math.floor(data.starts_s[i] / r.bin_s), Math.ceil(data.ends_s[i] / r.bin_s)); return inside.length ? Math.max(...inside) : null; };
    const facts = [['Forecast', `${data.target}: ${data.trained_on}`], ['Ranked by', data.by], ['Inputs', data.inputs.join(', ')], ['Next 30 s', percent(data.next_score)], ['Checkpoint', data.checkpoint],
      data.reaction?.reliability != null && ['Reliability', `${data.reaction.reliability.toFixed(2)} (the reactions of two halves of the chatters, correlated)`],
      data.reaction?.too_little && ['Reaction', data.reaction.too_little],
      ...data.skipped.map((s) => ['Skipped', `${s.count} × ${s.reason}${s.where ? ` (${s.where})` : ''}`])].filter(Boolean);
    panels.Data.replaceChildren(h('p', {},
      download('highlights.csv', () => [['rank', 'start_s', 'end_s', 'peak_s', 'score', 'strength', 'source', 'kept', 'why'], ...data.cards.map((c) => [c.rank, span(c).start_s, span(c).end_s, c.peak_s, c.score, c.strength, c.source, span(c).keep, c.why])]),
      names.length ? download('contributions.csv', () => [['start_s', 'end_s', 'usual', ...names, 'score'], ...data.starts_s.map((start, i) => [start, data.ends_s[i], data.usual, ...names.map((n) => data.waterfall[n][i]), data.forecast[i]])]) : null),
    h('dl', {}, facts.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, text)])),
    h('table', {class: 'numbers'}, h('thead', {}, h('tr', {}, ['Time', data.target, 'Reaction', 'Messages'].map((name) => h('th', {scope: 'col'}, name)))),
      h('tbody', {}, data.starts_s.map((start, i) => h('tr', {}, h('td', {}, timeButton(start)), h('td', {}, percent(data.forecast[i])), h('td', {}, number(peak(i), 2)), h('td', {}, data.messages?.[i] ?? '–'))))));
    drawAlignment();
  }
  function drawAlignment() {
    const minutes = (a) => (a.band * (data.ends_s[0] - data.starts_s[0])) / 60;
    alignment.replaceChildren(...data.alignments.map((a) => h('div', {class: 'strip'}, ...heatmap(a),
      h('span', {class: 'top'}, `${a.source} match ${a.other} ${minutes(a)} min later`), h('span', {class: 'bottom'}, `${minutes(a)} min earlier`),
      h('span', {class: 'lag'}, a.lag ? `${a.source} come ${Math.abs(a.lag)} segment${Math.abs(a.lag) === 1 ? '' : 's'} ${a.lag > 0 ? 'after' : 'before'} ${a.other}` : 'at the same time'))),
    h('figcaption', {}, 'What belongs together (DTW), over the time of the recording. Dark: similar. Line: the best match.'));
  }
  function heatmap(a) {
    const bytes = Uint8Array.from(atob(a.cost), (c) => c.charCodeAt(0)), rows = 2 * a.band + 1, columns = bytes.length / rows;
    const canvas = h('canvas', {width: columns, height: rows, role: 'img', 'aria-label': `Cost of matching ${a.source} with ${a.other} before and after, and the best match`});
    const image = new ImageData(columns, rows);
    for (let i = 0; i < columns; i++) for (let k = 0; k < rows; k++) {
      const v = bytes[i * rows + k], p = 4 * ((rows - 1 - k) * columns + i), s = v / 254;
      image.data.set(v === 255 ? [0, 0, 0, 0] : [20 + 225 * s, 50 + 180 * s, 110 + 40 * Math.sin(3 * s) - 40 * s, 255], p);
    }
    canvas.getContext('2d').putImageData(image, 0, 0);
    const path = line('match');
    path.setAttribute('d', a.path.map(([source, other], i) => `${i ? 'L' : 'M'}${((source + 0.5) * 1000) / columns} ${50 - ((other - source) * 100) / rows}`).join(''));
    return [canvas, layer(path)];
  }

  // --- Live replay: what is shown at a time rests on the time before
  function setLive(on) {
    live = on;
    root.classList.toggle('is-live', live);
    liveButton.setAttribute('aria-pressed', String(live));
    liveButton.textContent = live ? 'Stop replay' : 'Live replay';
    rate.hidden = liveText.hidden = !live;
    loop = null;
    markLoop();
    video.playbackRate = live ? Number(rate.value) : 1;
    measured.style.clipPath = predicted.style.clipPath = '';
    if (live) { openTab('Chat'); play(0); } else tick();
  }
  function reveal(current) {
    const index = segmentAt(current), score = data.forecast[index];
    measured.style.clipPath = `inset(0 ${100 - (100 * current) / data.duration_s}% 0 0)`;
    predicted.style.clipPath = `inset(0 ${100 - (100 * data.ends_s[index]) / data.duration_s}% 0 0)`;
    liveText.textContent = score == null ? `${clock(current)}: no forecast yet, nothing came before.` :
      `${clock(current)}: forecast until ${clock(data.ends_s[index])}, made before it began: ${percent(score)}.`;
  }

  // --- A result
  async function show(next) {
    const resumed = data?.player && next.player === data.player;
    data = next;
    loop = null;
    selected = undefined;
    filled = null;
    kept = new Map(data.cards.map((card, i) => [card.rank, {start_s: card.start_s, end_s: card.end_s, keep: i < 5}]));
    try {
      const [id, stored] = JSON.parse(sessionStorage['kuaihl-kept'] ?? '[]');
      if (data.id && id === data.id) for (const [rank, clip] of stored) if (kept.has(rank)) kept.set(rank, clip);
    } catch { /* nothing was kept */ }
    if (live) setLive(false);
    seek.setAttribute('aria-valuemax', Math.round(data.duration_s));
    if (data.player && !resumed) setVideo(data.player);
    else if (!data.player) {
      video.pause();
      video.removeAttribute('src');
      video.hidden = true;
      still.hidden = true;
      still.removeAttribute('src');
      now = 0;
      stillAt(data.cards[0]?.start_s ?? 0);
      note.textContent = data.player_note ?? '';
      note.hidden = !note.textContent;
    }
    const stamp = (t) => new Date(1000 * t).toISOString().slice(11, 23);
    captions.src = data.transcript.length ? URL.createObjectURL(new Blob([`WEBVTT\n\n${data.transcript.map(([start, end, text]) => `${stamp(start)} --> ${stamp(end)}\n${text.replaceAll('<', '&lt;').replaceAll('-->', '→')}\n`).join('\n')}`], {type: 'text/vtt'})) : '';
    banner.replaceChildren(...(data.banner ? [h('p', {}, data.banner)] : []), ...(data.warning ? [h('p', {class: 'warning'}, `⚠ ${data.warning} `, send && h('button', {type: 'button', class: 'small', onclick: () => send('timing', {})}, 'Check timing'))] : []));
    banner.hidden = !banner.children.length;
    budget.max = Math.max(5, Math.ceil(data.cards.reduce((sum, card) => sum + card.end_s - card.start_s, 0) / 5) * 5);
    budgetLabel.hidden = !data.cards.length;
    root.classList.toggle('partial', Boolean(data.partial));
    root.dataset.recording = data.name;
    drawCurve();
    drawCards();
    changed();
    openTab(open);
    tick();
    if (!data.chat && data.chat_url) {
      const mine = data, answer = await fetch(data.chat_url).catch(() => null);
      if (answer?.ok) mine.chat = await answer.json();
      if (mine === data) { filled = null; fillTab(time()); }
    }
  }
  return show;
}
