// A placeholder: the store's facts, and its first images.
const answer = await fetch("api/meta");
const meta = await answer.json();
const state = document.getElementById("state");
state.textContent = answer.ok ? `${meta.store}: ${meta.count} images, state ${meta.state}` : meta.error;
const ids = new Int32Array(await (await fetch("api/ids")).arrayBuffer());
for (const id of ids.slice(0, 48)) {
  const image = document.createElement("img");
  image.src = `thumb/${id}`;
  image.alt = `image ${id}`;
  document.getElementById("wall").append(image);
}
