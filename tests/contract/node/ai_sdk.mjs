// Vercel's AI SDK with its provider for servers like OpenAI's.

import assert from "node:assert/strict"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { APICallError, Output, embedMany, generateText, isStepCount, jsonSchema, streamText, tool } from "ai"

import {
  ANSWER,
  ANSWER_TOKENS,
  BASE_URL,
  CITY,
  KEY,
  LIMITED_KEY,
  POOR_KEY,
  PROMPT_TOKENS,
  QUESTION,
  VECTOR,
  WEATHER,
  WEATHER_SCHEMA,
  WRONG_KEY,
  run,
  thrown,
  tries,
} from "./cells.mjs"

const provider = (apiKey) =>
  createOpenAICompatible({
    name: "lyceum",
    baseURL: BASE_URL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  })

const ask = (model, { key = KEY, ...settings } = {}) =>
  generateText({ model: provider(key)(model), prompt: QUESTION, ...settings })

// Errors are parts of the stream, and told in the log unless somebody takes them.
const stream = (model, settings = {}) =>
  streamText({ model: provider(KEY)(model), prompt: QUESTION, onError() {}, ...settings })

const refused = async (model, settings = {}) => {
  const error = await thrown(ask(model, { maxRetries: 0, ...settings }))
  assert.ok(APICallError.isInstance(error))
  return error
}

// Told nothing it would wait longer: two seconds, then four.
const asTold = { waits: 1, within: 5 }

const codeOf = (error) => [error.statusCode, JSON.parse(error.responseBody).error.code]

const able = (called) => ({
  stopWhen: isStepCount(2),
  tools: {
    weather: tool({
      inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
      execute: ({ city }) => {
        called.push(city)
        return "21"
      },
    }),
  },
})

await run("Vercel AI SDK", "ai", {
  async chat() {
    const answer = await ask("fake-chat")
    assert.equal(answer.text, ANSWER)
    assert.equal(answer.usage.inputTokens, PROMPT_TOKENS)
  },
  async stream() {
    let words = ""
    for await (const piece of stream("fake-chat").textStream) words += piece
    assert.equal(words, ANSWER)
  },
  async stream_usage() {
    const { inputTokens, outputTokens } = await stream("fake-chat").usage
    assert.deepEqual([inputTokens, outputTokens], [PROMPT_TOKENS, ANSWER_TOKENS])
  },
  async tools() {
    const called = []
    assert.equal((await ask("tool-chat", able(called))).text, ANSWER)
    assert.deepEqual(called, [CITY])
  },
  async tools_stream() {
    const called = []
    assert.equal(await stream("tool-chat", able(called)).text, ANSWER)
    assert.deepEqual(called, [CITY])
  },
  async structured() {
    const output = Output.object({ schema: jsonSchema(WEATHER_SCHEMA) })
    assert.deepEqual((await ask("json-chat", { output })).output, WEATHER)
  },
  async embeddings() {
    const model = provider(KEY).embeddingModel("fake-embed")
    assert.deepEqual((await embedMany({ model, values: [QUESTION, QUESTION] })).embeddings, [VECTOR, VECTOR])
  },
  async slashed_model() {
    assert.equal((await ask("lab/slashed")).response.modelId, "lab/slashed")
  },
  async wrong_key() {
    const error = await refused("fake-chat", { key: WRONG_KEY })
    assert.deepEqual(codeOf(error), [401, "invalid_api_key"])
    return error.constructor.name
  },
  async unknown_model() {
    const error = await refused("nobody")
    assert.deepEqual(codeOf(error), [404, "model_not_found"])
    return error.constructor.name
  },
  async bad_request() {
    const error = await refused("fake-chat", { providerOptions: { lyceum: { prompt_embeds: "x" } } })
    assert.deepEqual(codeOf(error), [400, "unsupported_parameter"])
    return error.constructor.name
  },
  async rate_limit() {
    await ask("fake-chat", { key: LIMITED_KEY })
    const error = await refused("fake-chat", { key: LIMITED_KEY })
    assert.deepEqual(codeOf(error), [429, "rate_limit_exceeded"])
    return error.constructor.name
  },
  async overloaded() {
    const error = await refused("full-chat")
    assert.deepEqual(codeOf(error), [503, "service_unavailable"])
    return error.constructor.name
  },
  async retries_rate_limit() {
    await thrown(ask("busy-chat"))
    return tries("busy-chat", asTold)
  },
  async retries_overloaded() {
    await thrown(ask("overloaded-chat"))
    return tries("overloaded-chat", asTold)
  },
  async retries_long_wait() {
    await thrown(ask("patient-chat"))
    return tries("patient-chat")
  },
  async spent_budget() {
    await thrown(ask("paid-chat", { key: POOR_KEY }))
    return tries("paid-chat", { key: POOR_KEY })
  },
  async broken_stream() {
    for (const model of ["breaks-chat", "dies-chat"]) {
      const parts = []
      for await (const part of stream(model).stream) parts.push(part)
      assert.ok(parts.some((part) => part.type === "text-delta"))
      const { error } = parts.find((part) => part.type === "error")
      assert.match(String(error.message ?? error), /^The model's server/)
    }
    return "an error part"
  },
})
