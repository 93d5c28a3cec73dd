// What every file here needs: where the service is, a key of its own, and the models to try.

import process from "node:process";

import OpenAI from "openai";

export const models = required("OMNI_CHAT_MODELS").split(",");
export const embeddingModels = required("OMNI_EMBEDDING_MODELS").split(",");

export const client = new OpenAI({
  baseURL: `${required("OMNI_URL")}/v1`,
  apiKey: required("OMNI_API_KEY"),
  maxRetries: 0,
  timeout: 30_000,
});

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}; the Python tests do`);
  return value;
}
