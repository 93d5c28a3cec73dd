// The official openai-node against the running service: only its URL is changed.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { client, models } from "./service.mjs";

const say = [{ role: "user", content: "Say something." }];
const callBoth = [{ role: "user", content: "Please call weather and call clock." }];
const City = z.object({ name: z.string(), population: z.number(), rivers: z.array(z.string()) });

for (const model of models) {
  test(`${model}: a plain answer has its text, its usage and its cost`, async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model, messages: say })
      .withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.ok(data.choices[0].message.content);
    assert.equal(request_id, data.id);
    assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    assert.equal(data.usage.cost, Number(response.headers.get("x-omni-cost-usd")));
  });

  test(`${model}: a stream adds up to the plain answer`, async () => {
    const plain = await client.chat.completions.create({ model, messages: say });
    const stream = await client.chat.completions.create({
      model,
      messages: say,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, plain.choices[0].message.content);
    assert.equal(usage.total_tokens, plain.usage.total_tokens);
  });

  test(`${model}: the helper that gathers a stream yields the plain answer`, async () => {
    const plain = await client.chat.completions.create({ model, messages: say });
    const runner = client.chat.completions.stream({
      model,
      messages: say,
      stream_options: { include_usage: true },
    });
    const gathered = await runner.finalChatCompletion();
    assert.equal(gathered.choices[0].message.content, plain.choices[0].message.content);
    assert.equal(gathered.choices[0].message.role, "assistant");
    assert.equal(gathered.usage.total_tokens, plain.usage.total_tokens);
  });

  for (const stream of [false, true]) {
    test(`${model}: runTools calls both tools and answers, stream ${stream}`, async () => {
      const called = [];
      const tool = (name, field) =>
        zodFunction({
          name,
          parameters: z.object({ [field]: z.string() }),
          function: () => {
            called.push(name);
            return `${name} is fine`;
          },
        });
      const runner = client.chat.completions.runTools({
        model,
        stream,
        messages: callBoth,
        tools: [tool("weather", "city"), tool("clock", "zone")],
      });
      const text = await runner.finalContent();
      assert.deepEqual(called, ["weather", "clock"]);
      assert.match(text, /weather is fine and clock is fine/);
    });
  }

  test(`${model}: parse yields what the schema says, plain and streamed`, async () => {
    const wanted = { model, messages: say, response_format: zodResponseFormat(City, "city") };
    const plain = await client.chat.completions.parse(wanted);
    const city = plain.choices[0].message.parsed;
    assert.deepEqual(City.parse(city), city);
    const streamed = await client.chat.completions.stream(wanted).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.parsed, city);
  });
}

test("a stream that is left is cancelled, and the next call works", async () => {
  const stream = await client.chat.completions.create({
    model: models[0],
    messages: say,
    stream: true,
  });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  assert.ok((await client.chat.completions.create({ model: models[0], messages: say })).id);
});

test("errors are the classes that the client has for them", async () => {
  const failing = (options, fields) =>
    client.withOptions(options).chat.completions.create({
      model: models[0],
      messages: say,
      ...fields,
    });
  await assert.rejects(failing({}, { model: "sim/none" }), OpenAI.NotFoundError);
  await assert.rejects(failing({ apiKey: "omni_wrong" }, {}), OpenAI.AuthenticationError);
  await assert.rejects(failing({}, { temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
});

test("the models are listed", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  for (const model of models) assert.ok(ids.includes(model), model);
  assert.equal((await client.models.retrieve(models[0])).id, models[0]);
});
