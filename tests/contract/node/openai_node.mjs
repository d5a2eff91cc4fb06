// OpenAI's SDK for Node.js.

import assert from "node:assert/strict"
import { setTimeout as wait } from "node:timers/promises"
import OpenAI, { toFile } from "openai"

import {
  ANSWER,
  ANSWER_TOKENS,
  BASE_URL,
  KEY,
  LIMITED_KEY,
  MODELS,
  PICTURE,
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

const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY })
const hasty = { maxRetries: 0 }
const messages = [{ role: "user", content: QUESTION }]
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }]

const complete = (model, fields = {}, options = hasty, key = KEY) =>
  client.withOptions({ apiKey: key }).chat.completions.create({ model, messages, ...fields }, options)

const chunks = async (model, fields = {}) => {
  const read = []
  for await (const chunk of await complete(model, { stream: true, ...fields })) read.push(chunk)
  return read
}

const words = (read) => read.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")

const line = (number) =>
  JSON.stringify({
    custom_id: `row-${number}`,
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: "fake-chat", messages },
  })
const BATCH = `${[0, 1, 2].map(line).join("\n")}\n`
const upload = async () =>
  client.files.create({ file: await toFile(Buffer.from(BATCH), "input.jsonl"), purpose: "batch" })

const said = ({ status, code, param }) => ({ status, code, param })

await run("OpenAI Node.js", "openai", {
  async chat() {
    const answer = await complete("fake-chat")
    assert.equal(answer.choices[0].message.content, ANSWER)
    assert.equal(answer.usage.prompt_tokens, PROMPT_TOKENS)
  },
  async stream() {
    const read = await chunks("fake-chat")
    assert.equal(words(read), ANSWER)
    assert.equal(read.at(-1).choices[0].finish_reason, "stop")
    assert.ok(!("usage" in read[0]))
  },
  async stream_usage() {
    const read = await chunks("fake-chat", { stream_options: { include_usage: true } })
    const { prompt_tokens, completion_tokens } = read.pop().usage
    assert.deepEqual([prompt_tokens, completion_tokens], [PROMPT_TOKENS, ANSWER_TOKENS])
    assert.ok(read.every((chunk) => chunk.usage === null))
  },
  async tools() {
    const { message } = (await complete("tool-chat", { tools })).choices[0]
    const [call] = message.tool_calls
    assert.equal(JSON.parse(call.function.arguments).city, WEATHER.city)
    const turn = [message, { role: "tool", tool_call_id: call.id, content: "21" }]
    const final = await complete("tool-chat", { tools, messages: [...messages, ...turn] })
    assert.equal(final.choices[0].message.content, ANSWER)
  },
  async tools_stream() {
    const read = client.chat.completions.stream({ model: "tool-chat", messages, tools })
    const { message } = (await read.finalChatCompletion()).choices[0]
    assert.equal(JSON.parse(message.tool_calls[0].function.arguments).city, WEATHER.city)
  },
  async structured() {
    const response_format = { type: "json_schema", json_schema: { name: "weather", schema: WEATHER_SCHEMA } }
    const answer = await complete("json-chat", { response_format })
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), WEATHER)
  },
  async completions() {
    const answer = await client.completions.create({ model: "fake-chat", prompt: QUESTION })
    assert.equal(answer.choices[0].text, ANSWER)
    const read = []
    for await (const chunk of await client.completions.create({ model: "fake-chat", prompt: QUESTION, stream: true }))
      read.push(chunk.choices[0].text)
    assert.equal(read.join(""), ANSWER)
  },
  async responses() {
    const answer = await client.responses.create({ model: "fake-chat", input: QUESTION })
    assert.equal(answer.output_text, ANSWER)
    assert.equal(answer.usage.output_tokens, ANSWER_TOKENS)
  },
  async responses_stream() {
    const types = async (model) => {
      const read = []
      for await (const event of await client.responses.create({ model, input: QUESTION, stream: true }))
        read.push(event.type)
      return read
    }
    assert.equal((await types("fake-chat")).at(-1), "response.completed")
    // The event becomes an exception in this SDK.
    assert.match((await thrown(types("breaks-chat"))).message, /failed to answer/)
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: "fake-embed", input: QUESTION, encoding_format: "float" })
    assert.deepEqual(answer.data[0].embedding, VECTOR)
  },
  async embeddings_base64() {
    // What this SDK asks for when it is told nothing.
    const answer = await client.embeddings.create({ model: "fake-embed", input: [QUESTION] })
    assert.deepEqual(answer.data[0].embedding, VECTOR)
  },
  async pictures() {
    const [model, prompt] = ["fake-all", QUESTION]
    const made = await client.images.generate({ model, prompt })
    const image = await Promise.all(["ada", "ben"].map((name) => toFile(Buffer.from(PICTURE, "base64"), `${name}.png`)))
    const changed = await client.images.edit({ model, prompt, image, mask: image[0], n: 2 })
    const found = [...made.data, ...changed.data].map(({ b64_json }) => b64_json)
    assert.deepEqual(found, [PICTURE, PICTURE, PICTURE])
  },
  async files() {
    const { id } = await upload()
    const ids = []
    for await (const file of client.files.list()) ids.push(file.id)
    assert.ok(ids.includes(id))
    assert.equal((await client.files.retrieve(id)).filename, "input.jsonl")
    assert.equal(await (await client.files.content(id)).text(), BATCH)
    assert.ok((await client.files.delete(id)).deleted)
  },
  async batches() {
    const { id } = await upload()
    const order = { input_file_id: id, endpoint: "/v1/chat/completions", completion_window: "24h" }
    let batch = await client.batches.create(order)
    for (let tried = 0; !["completed", "failed", "expired"].includes(batch.status) && tried < 300; tried += 1) {
      await wait(200)
      batch = await client.batches.retrieve(batch.id)
    }
    assert.equal(batch.status, "completed")
    const output = await (await client.files.content(batch.output_file_id)).text()
    const answers = output.trim().split("\n").map(JSON.parse)
    assert.deepEqual(answers.map(({ custom_id }) => custom_id).sort(), ["row-0", "row-1", "row-2"])
    assert.ok(answers.every(({ response }) => response.body.choices[0].message.content === ANSWER))
  },
  async models() {
    const names = []
    for await (const model of client.models.list()) names.push(model.id)
    assert.ok(MODELS.every((name) => names.includes(name)))
  },
  async slashed_model() {
    assert.equal((await complete("lab/slashed")).model, "lab/slashed")
    assert.equal((await client.models.retrieve("lab/slashed")).id, "lab/slashed")
  },
  async request_id() {
    assert.match((await complete("fake-chat"))._request_id, /^req_/)
    assert.match((await thrown(complete("nobody"))).requestID, /^req_/)
  },
  async wrong_key() {
    const error = await thrown(complete("fake-chat", {}, hasty, WRONG_KEY))
    assert.deepEqual(said(error), { status: 401, code: "invalid_api_key", param: null })
    return error.constructor.name
  },
  async unknown_model() {
    const error = await thrown(complete("nobody"))
    assert.deepEqual(said(error), { status: 404, code: "model_not_found", param: null })
    return error.constructor.name
  },
  async bad_request() {
    const error = await thrown(complete("fake-chat", { prompt_embeds: "x" }))
    assert.deepEqual(said(error), { status: 400, code: "unsupported_parameter", param: "prompt_embeds" })
    return error.constructor.name
  },
  async rate_limit() {
    await complete("fake-chat", {}, hasty, LIMITED_KEY)
    const error = await thrown(complete("fake-chat", {}, hasty, LIMITED_KEY))
    assert.deepEqual(said(error), { status: 429, code: "rate_limit_exceeded", param: null })
    return error.constructor.name
  },
  async overloaded() {
    const error = await thrown(complete("full-chat"))
    assert.deepEqual(said(error), { status: 503, code: "service_unavailable", param: null })
    return error.constructor.name
  },
  async retries_rate_limit() {
    await thrown(complete("busy-chat", {}, {}))
    return tries("busy-chat", { waits: 1 })
  },
  async retries_overloaded() {
    await thrown(complete("overloaded-chat", {}, {}))
    return tries("overloaded-chat", { waits: 1 })
  },
  async retries_long_wait() {
    await thrown(complete("patient-chat", {}, {}))
    return tries("patient-chat")
  },
  async spent_budget() {
    const error = await thrown(complete("paid-chat", {}, {}, POOR_KEY))
    assert.equal(error.code, "insufficient_quota")
    return tries("paid-chat", { key: POOR_KEY })
  },
  async broken_stream() {
    const breaks = await thrown(chunks("breaks-chat"))
    const dies = await thrown(chunks("dies-chat"))
    assert.ok(breaks instanceof OpenAI.APIError)
    assert.equal(breaks.constructor, dies.constructor)
    return breaks.constructor.name
  },
})
