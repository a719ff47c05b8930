import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MyelinError } from '../bus/internal.ts'
import { parseFilter } from './filter.ts'

const flight = {
  delay: 17,
  origin: 'ATL',
  hour: '2001-03-01T05:00:00Z',
  gate: '007',
  late: true,
  crew: { captain: 'Ann' },
  note: null,
}

describe('a filter', () => {
  it.each([
    ['delay>15', true],
    ['delay>17', false],
    ['delay>=17,delay<=17,delay<18', true],
    ['origin==ATL|ORD', true],
    ['origin==LAX|ORD', false],
    ['origin!=LAX|ORD', true],
    ['origin!=ATL|ORD', false],
    ['delay>15,origin==LAX', false],
    ['hour>=2001-03-01,hour<2001-03-02', true],
    ['gate==007', true],
    ['gate==7', false],
    ['late==true', true],
    ['note==null', true],
    ['crew.captain^=A', true],
    [' crew.captain == "Ann" ', true],
    ['origin=="A,B|C"', false],
    ['nothing==1', false],
    ['nothing!=1', true],
    ['constructor.name!=Object', true],
    ['crew.constructor.name==Object', false],
    ['origin>AAA,origin<B', true],
    ['crew>5', false],
  ])('%s', (text, expected) => {
    expect(parseFilter(text)(flight)).toBe(expected)
  })

  it.each([
    '',
    ',',
    'delay',
    'delay=15',
    'delay>',
    '>15',
    'a b==1',
    'delay>15,',
    'x=="open',
    'x=="a"b',
    `x==${'1'.repeat(500)}`,
    Array(21).fill('a==1').join(),
  ])('rejects %s', (text) => {
    expect(() => parseFilter(text)).toThrow(expect.objectContaining({ code: 'INVALID_FILTER' }))
  })

  it('either means something or says INVALID_FILTER, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), fc.jsonValue(), (text, payload) => {
        try {
          expect(typeof parseFilter(text)(payload)).toBe('boolean')
        } catch (error) {
          expect(error).toBeInstanceOf(MyelinError)
        }
      }),
    )
  })

  it('finds any text again that is quoted', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        expect(parseFilter(`x==${JSON.stringify(text)}`)({ x: text })).toBe(true)
      }),
    )
  })
})
