// Where the real data lies: in the npm package vega-datasets.
import { fileURLToPath } from 'node:url'

// the package's door is build/<file>, whatever its layout inside becomes
const dataFile = (name: string) => fileURLToPath(new URL(`../data/${name}`, import.meta.resolve('vega-datasets')))

/** 3,000,000 US flights of 2001: date, delay (minutes), distance (miles), origin, destination. */
export const flightsFile = dataFile('flights-3m.parquet')
/** US airports: iata, name, city, state, country, latitude, longitude. */
export const airportsFile = dataFile('airports.csv')
