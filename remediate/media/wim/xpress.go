package wim

import "errors"

var errXPRESS = errors.New("XPRESS data corrupt")

const (
	xpressSymbols = 512
	xpressMaxLen  = 15
	xpressFast    = 10 // bits of the direct lookup
)

// Xpress decodes one chunk of LZ77+Huffman (MS-XCA section 2.2): 256 bytes of code lengths, then a stream of
// 16-bit little-endian words read from the top bit, with long match lengths as plain bytes in between.
type xpress struct {
	in   []byte
	pos  int
	bits uint64 // at the top
	n    uint

	fast   [1 << xpressFast]uint16 // symbol<<4 | length, 0 where longer
	first  [xpressMaxLen + 2]uint32
	index  [xpressMaxLen + 2]uint32
	count  [xpressMaxLen + 2]uint32
	sorted [xpressSymbols]uint16
}

func decodeXPRESS(in, out []byte) error {
	if len(in) < xpressSymbols/2 {
		return errXPRESS
	}
	x := &xpress{in: in, pos: xpressSymbols / 2}
	if err := x.build(in[:xpressSymbols/2]); err != nil {
		return err
	}
	return x.decode(out)
}

// Build makes the canonical code of the lengths.
func (x *xpress) build(lens []byte) error {
	length := func(s int) uint { return uint(lens[s/2]>>(4*uint(s&1))) & 15 }
	for s := range xpressSymbols {
		x.count[length(s)]++
	}
	x.count[0] = 0
	var code, total uint32
	for l := 1; l <= xpressMaxLen; l++ {
		code = (code + x.count[l-1]) << 1
		x.first[l], x.index[l] = code, total
		total += x.count[l]
		if code+x.count[l] > 1<<l {
			return errXPRESS
		}
	}
	next := x.index
	for s := range xpressSymbols {
		if l := length(s); l > 0 {
			x.sorted[next[l]] = uint16(s)
			if l <= xpressFast {
				c := (x.first[l] + next[l] - x.index[l]) << (xpressFast - l)
				for i := range uint32(1) << (xpressFast - l) {
					x.fast[c+i] = uint16(s)<<4 | uint16(l)
				}
			}
			next[l]++
		}
	}
	return nil
}

// Fill makes at least 16 bits available; beyond the end the stream is zeros.
func (x *xpress) fill() {
	if x.n >= 16 {
		return
	}
	var w uint64
	if x.pos+2 <= len(x.in) {
		w = uint64(x.in[x.pos]) | uint64(x.in[x.pos+1])<<8
	}
	x.pos += 2
	x.bits |= w << (48 - x.n)
	x.n += 16
}

func (x *xpress) take(n uint) uint32 {
	v := uint32(x.bits >> (64 - n))
	if n == 0 {
		return 0
	}
	x.bits <<= n
	x.n -= n
	return v
}

func (x *xpress) symbol() (int, error) {
	x.fill()
	if e := x.fast[x.bits>>(64-xpressFast)]; e != 0 {
		x.take(uint(e & 15))
		return int(e >> 4), nil
	}
	for l := uint(xpressFast + 1); l <= xpressMaxLen; l++ {
		if c := uint32(x.bits>>(64-l)) - x.first[l]; c < x.count[l] {
			x.take(l)
			return int(x.sorted[x.index[l]+c]), nil
		}
	}
	return 0, errXPRESS
}

func (x *xpress) raw(n int) (int, error) {
	if x.pos+n > len(x.in) {
		return 0, errXPRESS
	}
	v := int(x.in[x.pos])
	if n == 2 {
		v |= int(x.in[x.pos+1]) << 8
	}
	x.pos += n
	return v, nil
}

func (x *xpress) decode(out []byte) error {
	for i := 0; i < len(out); {
		if x.pos > len(x.in)+8 {
			return errXPRESS
		}
		s, err := x.symbol()
		if err != nil {
			return err
		}
		if s < 256 {
			out[i] = byte(s)
			i++
			continue
		}
		n, off, err := x.match(s - 256)
		if err != nil {
			return err
		}
		if off > i || n > len(out)-i {
			return errXPRESS
		}
		for end := i + n; i < end; i++ {
			out[i] = out[i-off]
		}
	}
	return nil
}

func (x *xpress) match(s int) (n, off int, err error) {
	x.fill()
	bits := uint(s >> 4)
	off = 1<<bits | int(x.take(bits))
	if n = s & 15; n == 15 {
		if n, err = x.raw(1); err != nil {
			return 0, 0, err
		}
		if n += 15; n == 255+15 {
			if n, err = x.raw(2); err != nil {
				return 0, 0, err
			}
		}
	}
	return n + 3, off, nil
}
