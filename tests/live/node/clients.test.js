// Clients of Node against a running server: IMAGEROUTER_URL names it, and ./test_node.py starts it.
// It has the models `sdxl` and `org/flux.1`, which draw 64x64 where nobody says otherwise, and `broken`, which fails.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { APICallError, generateImage, generateText, streamText } from 'ai';
import OpenAI, { BadRequestError, NotFoundError, toFile } from 'openai';

const root = process.env.IMAGEROUTER_URL;
const apiKey = 'any';

const openai = new OpenAI({ baseURL: `${root}/v1`, apiKey, maxRetries: 0 });
const aiOpenai = createOpenAI({ baseURL: `${root}/v1`, apiKey });
const compatible = createOpenAICompatible({ name: 'router', baseURL: `${root}/v1`, apiKey });
const openrouter = createOpenRouter({ baseURL: `${root}/api/v1`, apiKey });

const prompt = 'a red fox in the snow';

/** Width and height of a PNG, which base64 or bytes have to be. */
function sizeOf(picture) {
  const bytes = Buffer.from(picture, typeof picture === 'string' ? 'base64' : undefined);
  assert.equal(bytes.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n');
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

function base64Of(dataUrl) {
  const [head, encoded] = dataUrl.split(',');
  assert.equal(head, 'data:image/png;base64');
  return encoded;
}

async function collected(stream) {
  const found = [];
  for await (const each of stream) found.push(each);
  return found;
}

const drawn = await openai.images.generate({ model: 'sdxl', prompt, seed: 7 });
const picture = drawn.data[0].b64_json;
const bytes = Buffer.from(picture, 'base64');

test('openai: draws, with parameters that its types do not have', async () => {
  const reply = await openai.images.generate({
    model: 'org/flux.1', prompt, n: 2, size: '128x64', seed: 7, steps: 3, negative_prompt: 'blurry', cfg_scale: 5,
  });
  assert.deepEqual(reply.data.map((each) => sizeOf(each.b64_json)), [[128, 64], [128, 64]]);
  assert.deepEqual(reply.data.map((each) => each.seed), [7, 8]);
  assert.deepEqual(reply.imagerouter.ignored, []);
  assert.equal(reply.imagerouter.applied.steps, 3);
  assert.equal(reply.usage.total_tokens, 0);
});

test('openai: gives links, from which the picture can be had', async () => {
  const reply = await openai.images.generate({ model: 'sdxl', prompt, seed: 7, response_format: 'url' });
  const found = await fetch(reply.data[0].url);
  assert.equal(Buffer.from(await found.arrayBuffer()).toString('base64'), picture);
});

test('openai: edits one picture and several, with a mask', async () => {
  const file = () => toFile(bytes, 'fox.png', { type: 'image/png' });
  const one = await openai.images.edit({ model: 'sdxl', prompt, image: await file(), mask: await file(), strength: 0.5 });
  const two = await openai.images.edit({ model: 'sdxl', prompt, image: [await file(), await file()], n: 2 });
  assert.deepEqual([one, two].map((reply) => reply.data.length), [1, 2]);
  assert.deepEqual(sizeOf(one.data[0].b64_json), [64, 64]);
  assert.equal(one.imagerouter.applied.strength, 0.5);
});

test('openai: streams previews and every picture', async () => {
  const events = await collected(
    await openai.images.generate({ model: 'sdxl', prompt, seed: 7, n: 2, stream: true, partial_images: 2 }),
  );
  const kinds = events.map((event) => event.type.replace('image_generation.', ''));
  assert.deepEqual(kinds, ['partial_image', 'partial_image', 'completed', 'completed']);
  assert.equal(events[2].b64_json, picture);
});

test('openai: lists models and looks one up whose name has a slash', async () => {
  const listed = await collected(openai.models.list());
  assert.deepEqual(listed.map((model) => model.id), ['sdxl', 'flux.1', 'broken']);
  assert.equal((await openai.models.retrieve('org/flux.1')).id, 'flux.1');
});

test('openai: throws its own errors, which name the parameter', async () => {
  const failing = (body) => openai.images.generate({ prompt, ...body });
  await assert.rejects(failing({ model: 'nobody' }), (error) => {
    assert.ok(error instanceof NotFoundError);
    return error.param === 'model' && error.code === 'model_not_found' && error.requestID.length > 0;
  });
  await assert.rejects(failing({ size: 'huge' }), (error) => error instanceof BadRequestError && error.param === 'size');
  await assert.rejects(failing({ model: 'broken' }), (error) => {
    return error.status === 502 && error.code === 'generation_failed';
  });
  await assert.rejects(
    async () => collected(await failing({ model: 'broken', stream: true })),
    (error) => error.code === 'generation_failed',
  );
});

test('openai: draws in a chat, and on the picture of an earlier message', async () => {
  const messages = [{ role: 'user', content: prompt }];
  const ask = (body) => openai.chat.completions.create({ model: 'sdxl', messages, modalities: ['image', 'text'], ...body });
  const { message } = (await ask({ seed: 7 })).choices[0];
  assert.equal(base64Of(message.images[0].image_url.url), picture);
  messages.push(message, { role: 'user', content: 'now at night' });
  const chunks = await collected(await ask({ stream: true }));
  const urls = chunks.flatMap((chunk) => chunk.choices[0]?.delta?.images ?? []).map((image) => image.image_url.url);
  assert.equal(urls.length, 1);
  assert.deepEqual(sizeOf(base64Of(urls[0])), [64, 64]);
  assert.notEqual(base64Of(urls[0]), picture);
});

test('ai with openai-compatible: draws, with our parameters among its own options', async () => {
  const { images } = await generateImage({
    model: compatible.imageModel('sdxl'), prompt, n: 2, size: '128x64', maxRetries: 0,
    providerOptions: { router: { seed: 9, steps: 3, loras: [] } },
  });
  assert.deepEqual(images.map((each) => sizeOf(each.uint8Array)), [[128, 64], [128, 64]]);
  const one = await generateImage({
    model: compatible.imageModel('sdxl'), prompt, maxRetries: 0, providerOptions: { router: { seed: 7 } },
  });
  assert.equal(one.image.base64, picture);
});

test('ai with openai-compatible: edits', async () => {
  const { image } = await generateImage({
    model: compatible.imageModel('sdxl'), prompt: { text: prompt, images: [bytes], mask: bytes }, maxRetries: 0,
  });
  assert.deepEqual(sizeOf(image.uint8Array), [64, 64]);
});

test('ai with openai: draws and edits', async () => {
  const drawn = await generateImage({ model: aiOpenai.image('sdxl'), prompt, n: 2, size: '128x64', maxRetries: 0 });
  assert.deepEqual(drawn.images.map((each) => sizeOf(each.uint8Array)), [[128, 64], [128, 64]]);
  const edited = await generateImage({
    model: aiOpenai.image('sdxl'), prompt: { text: prompt, images: [bytes, bytes] }, maxRetries: 0,
  });
  assert.deepEqual(sizeOf(edited.image.uint8Array), [64, 64]);
});

test('ai: throws errors that tell what is wrong', async () => {
  for (const provider of [compatible, openrouter]) {
    await assert.rejects(generateImage({ model: provider.imageModel('nobody'), prompt, maxRetries: 0 }), (error) => {
      assert.ok(APICallError.isInstance(error), error);
      return error.statusCode === 404 && /nobody/.test(error.message) && !error.isRetryable;
    });
  }
});

test('openrouter: draws, in a shape and with a seed', async () => {
  const model = openrouter.imageModel('sdxl');
  const one = await generateImage({ model, prompt, seed: 7, maxRetries: 0 });
  assert.equal(one.image.base64, picture);
  const { images } = await generateImage({
    model, prompt, n: 2, aspectRatio: '2:1', maxRetries: 0,
    providerOptions: { openrouter: { resolution: '512', provider: { order: ['fake'], allow_fallbacks: false } } },
  });
  assert.deepEqual(images.map((each) => sizeOf(each.uint8Array)), [[720, 352], [720, 352]]);
});

test('openrouter: edits pictures that it refers to', async () => {
  const { image } = await generateImage({
    model: openrouter.imageModel('org/flux.1'), prompt: { text: prompt, images: [bytes, bytes] }, maxRetries: 0,
  });
  assert.deepEqual(sizeOf(image.uint8Array), [64, 64]);
});

test('openrouter: draws in a chat, as a whole and as a stream', async () => {
  const model = openrouter.chat('sdxl', { extraBody: { modalities: ['image', 'text'], seed: 7 } });
  const { files } = await generateText({ model, prompt, maxRetries: 0 });
  assert.equal(files.length, 1);
  assert.equal(files[0].mediaType, 'image/png');
  assert.equal(files[0].base64, picture);
  const streamed = await streamText({ model, prompt, maxRetries: 0 }).files;
  assert.deepEqual(streamed.map((file) => file.base64), [picture]);
});
