// Package pack shortens the agent's text for its way to a machine, in a form that a few lines of PowerShell take apart.
package pack

import (
	"encoding/binary"
	"errors"
	"strings"
)

// The agent is 95 KB of lines that resemble each other, and base64 makes a third more of them. It travels packed, in a form that a
// few lines of PowerShell take apart with string methods alone: Constrained Language Mode has no .NET streams. Whatever follows a
// "~" is a copy of earlier text: a digit for its length, then where it begins; the rest up to the next "~" stands for itself. Digits
// are the 90 characters from "#" to "|". Text that was written is cut into blocks of 8,100 characters:
//
//	~ L A B    with L below 45: 4+L characters from offset 90A+B of the text behind the last whole block
//	~ L N A B  with L from 45 on: 4+L-45 characters from offset 90A+B of block N
//
// A copy never reaches over the end of its block. The text itself has no "~", so what was never packed unpacks to itself.
const (
	packMark   = '~'
	packBase   = 90
	packFirst  = '#'
	packBlock  = packBase * packBase
	packShort  = 4 // characters of the shortest copy
	packSpread = packBase / 2
	packMost   = packShort + packSpread - 1
	packChain  = 200 // earlier places that are looked at for one position
)

// Pack shortens an ASCII text without "~", of less than 90 blocks. The same text always gives the same bytes.
func Pack(text string) string {
	near, far := copies(text)
	// From the end: what the rest costs at its cheapest, and the step that begins it.
	cost, step := make([]int, len(text)+1), make([]copied, len(text))
	for at := len(text) - 1; at >= 0; at-- {
		best, take := cost[at+1]+1, copied{length: 1}
		for _, c := range []struct {
			copied
			price int
		}{{near[at], 4}, {far[at], 5}} {
			for n := packShort; n <= c.length; n++ {
				if price := c.price + cost[at+n]; price < best {
					best, take = price, copied{n, c.from, true}
				}
			}
		}
		cost[at], step[at] = best, take
	}
	var out strings.Builder
	digit := func(n int) { out.WriteByte(byte(packFirst + n)) }
	for at := 0; at < len(text); at += step[at].length {
		s := step[at]
		if !s.earlier {
			out.WriteByte(text[at])
			continue
		}
		out.WriteByte(packMark)
		if block := s.from / packBlock; block == at/packBlock {
			digit(s.length - packShort)
		} else {
			digit(s.length - packShort + packSpread)
			digit(block)
		}
		digit(s.from % packBlock / packBase)
		digit(s.from % packBase)
	}
	return out.String()
}

// copied is a part of a text that stands earlier in it, or a single character that does not.
type copied struct {
	length, from int
	earlier      bool
}

// copies finds for each position the longest copy out of its own block and out of an earlier one.
func copies(text string) (near, far []copied) {
	near, far = make([]copied, len(text)), make([]copied, len(text))
	last, before := make(map[uint32]int32, len(text)/4), make([]int32, len(text))
	for at := 0; at+packShort <= len(text); at++ {
		key := binary.LittleEndian.Uint32([]byte(text[at : at+packShort]))
		from, there := last[key]
		if !there {
			from = -1
		}
		before[at], last[key] = from, int32(at) //nolint:gosec // a text of less than a megabyte
		for looked := 0; from >= 0 && looked < packChain; from, looked = before[from], looked+1 {
			place, into := int(from), &far[at]
			if place/packBlock == at/packBlock {
				into = &near[at]
			}
			// What is copied is whole and in one block when the copying begins.
			most := min(packMost, len(text)-at, at-place, packBlock-place%packBlock)
			if most <= into.length || text[place+into.length] != text[at+into.length] {
				continue
			}
			n := 0
			for n < most && text[place+n] == text[at+n] {
				n++
			}
			if n > into.length {
				*into = copied{length: n, from: place}
			}
		}
	}
	return near, far
}

// ErrDamaged is what a text is that [Pack] never made.
var ErrDamaged = errors.New("a copy of what is not there")

// Unpack is the way back, as bootstrap.ps1 goes it, of a text that is no longer than most when it is unpacked. Its only error is [ErrDamaged].
func Unpack(packed string, most int) (string, error) {
	var out strings.Builder
	digit := func(c byte) int { return int(c) - packFirst }
	for n, part := range strings.Split(packed, string(packMark)) {
		if n == 0 {
			out.WriteString(part)
			continue
		}
		if len(part) < 3 {
			return "", ErrDamaged
		}
		done := out.Len() / packBlock * packBlock
		length, from, end, used := digit(part[0]), done, out.Len(), 3
		if length >= packSpread {
			if len(part) < 4 {
				return "", ErrDamaged
			}
			length, from, used = length-packSpread, digit(part[1])*packBlock, 4
			end = min(from+packBlock, done)
		}
		from += digit(part[used-2])*packBase + digit(part[used-1])
		length += packShort
		if length < packShort || length > packMost || from < 0 || from+length > end || out.Len()+len(part) > most {
			return "", ErrDamaged
		}
		out.WriteString(out.String()[from : from+length])
		out.WriteString(part[used:])
	}
	return out.String(), nil
}
