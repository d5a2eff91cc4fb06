// What the clients for Node.js share; tests/contract/python/cells.py says what a cell is.

import { readFileSync } from "node:fs"

export const {
  CONTRACT_URL: BASE_URL,
  CONTRACT_KEY: KEY,
  CONTRACT_LIMITED_KEY: LIMITED_KEY,
  CONTRACT_POOR_KEY: POOR_KEY,
} = process.env
export const WRONG_KEY = "sk-nobody-made-this-one"
export const QUESTION = "one two three"
export const ANSWER = "word ".repeat(8)
export const [PROMPT_TOKENS, ANSWER_TOKENS] = [3, 8]
export const CITY = "Paris"
export const WEATHER = { city: CITY, degrees: 21 }
export const VECTOR = [1, 2]
export const PICTURE = "iVBORw0KGgo="
export const MODELS = ["fake-chat", "fake-embed", "lab/slashed"]
export const WEATHER_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, degrees: { type: "integer" } },
  required: ["city", "degrees"],
  additionalProperties: false,
}

/**
 * How often the gateway was asked for `model`, in words. Fails if two came less than `waits` seconds apart, or the last
 * more than `within` seconds after the first.
 */
export async function tries(model, { key = KEY, waits = 0, within = Infinity } = {}) {
  const query = new URLSearchParams({ model, key })
  const answer = await fetch(`${new URL(BASE_URL).origin}/arrivals?${query}`)
  const arrivals = await answer.json()
  const gaps = arrivals.slice(1).map((moment, index) => moment - arrivals[index])
  const total = gaps.reduce((sum, gap) => sum + gap, 0)
  if (total > within || gaps.some((gap) => gap < waits)) throw new Error(`It waited ${gaps}.`)
  return arrivals.length === 1 ? "1 try" : `${arrivals.length} tries`
}

/** What the work throws. */
export async function thrown(work) {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error("It should have failed.")
}

/** Fill the cells, side by side as most of them wait, and print what came of it. */
export async function run(client, name, cells) {
  const installed = new URL(`node_modules/${name}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(installed))
  const report = { client, package: `${name} ${version}`, cells: {}, failures: {} }
  const outcomes = Object.entries(cells).map(async ([feature, cell]) => {
    try {
      report.cells[feature] = (await cell()) ?? "yes"
    } catch (error) {
      report.cells[feature] = "fails"
      report.failures[feature] = error.stack
    }
  })
  await Promise.all(outcomes)
  console.log(JSON.stringify(report))
}
