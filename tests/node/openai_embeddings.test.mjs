// The official openai-node asks for embeddings as base64 and decodes them by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, embeddingModels } from "./service.mjs";

for (const model of embeddingModels) {
  test(`${model}: vectors come as numbers, whichever encoding goes over the wire`, async () => {
    const input = ["one text", "another text"];
    const decoded = await client.embeddings.create({ model, input });
    const plain = await client.embeddings.create({ model, input, encoding_format: "float" });
    assert.equal(decoded.data.length, 2);
    assert.deepEqual(
      decoded.data.map((one) => one.index),
      [0, 1],
    );
    for (const [place, one] of decoded.data.entries()) {
      const exact = plain.data[place].embedding;
      assert.equal(one.embedding.length, exact.length);
      one.embedding.forEach((value, at) => assert.ok(Math.abs(value - exact[at]) < 1e-6));
    }
    assert.ok(decoded.usage.prompt_tokens > 0);
    assert.equal(decoded.usage.total_tokens, decoded.usage.prompt_tokens);
  });
}
