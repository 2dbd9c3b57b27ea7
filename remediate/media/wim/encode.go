package wim

// Token is a literal (offset 0) or a match.
type token struct{ length, offset int }

const (
	hashBits = 13
	maxTries = 24
)

// Matches splits data into literals and matches of least to most bytes, greedily.
func matches(data []byte, least, most int) []token {
	var head [1 << hashBits]int
	prev := make([]int, len(data))
	var list []token
	insert := func(i int) {
		if i+3 <= len(data) {
			h := hash3(data[i:])
			prev[i], head[h] = head[h], i+1
		}
	}
	for i := 0; i < len(data); {
		best := token{}
		if i+3 <= len(data) {
			at := head[hash3(data[i:])]
			for tries := 0; at > 0 && tries < maxTries; tries++ {
				j := at - 1
				n := 0
				for n < most && i+n < len(data) && data[j+n] == data[i+n] {
					n++
				}
				if n >= least && n > best.length {
					best = token{n, i - j}
				}
				at = prev[j]
			}
		}
		if best.length == 0 {
			best.length = 1
		}
		list = append(list, best)
		for end := i + best.length; i < end; i++ {
			insert(i)
		}
	}
	return list
}

func hash3(b []byte) uint32 {
	return (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16) * 0x9e3779b1 >> (32 - hashBits)
}

// EncodeXPRESS compresses one chunk (MS-XCA 2.1). Matches stay below the length that needs bytes between the bits.
func encodeXPRESS(data []byte) []byte {
	const endOfData = 256
	list := matches(data, 3, 17)
	symbol := func(t token, literal byte) int {
		if t.offset == 0 {
			return int(literal)
		}
		return 256 + log2(t.offset)<<4 + t.length - 3
	}
	freq := make([]int, xpressSymbols)
	at := 0
	for _, t := range list {
		freq[symbol(t, data[at])]++
		at += t.length
	}
	freq[endOfData]++
	lens := huffmanLengths(freq, xpressMaxLen)
	code := codes(lens)
	w := &bitWriter{}
	for s := 0; s < xpressSymbols; s += 2 {
		w.out = append(w.out, lens[s]|lens[s+1]<<4)
	}
	at = 0
	for _, t := range list {
		s := symbol(t, data[at])
		w.put(code[s], lens[s])
		if t.offset > 0 {
			n := log2(t.offset)
			w.put(uint32(t.offset-1<<n), byte(n))
		}
		at += t.length
	}
	w.put(code[endOfData], lens[endOfData])
	w.flush()
	return append(w.out, 0, 0) // decoders read one word ahead
}

func log2(n int) (l int) {
	for n > 1 {
		n, l = n>>1, l+1
	}
	return l
}

const (
	lzxMain    = 256 + 30*8 // literals, and 30 position slots of a 32 KiB window
	lzxLengths = 249
	lzxMaxCode = 16
	lzxE8Size  = 12000000
)

// LzxSlot finds the position slot of a formatted offset (offset + 2): its base and the number of bits that follow.
func lzxSlot(formatted int) (slot, base int, bits byte) {
	for slot = 0; ; slot++ {
		if bits = 0; slot >= 4 {
			bits = byte(slot/2 - 1)
		}
		if formatted < base+1<<bits {
			return slot, base, bits
		}
		base += 1 << bits
	}
}

// LzxSymbol is a token as the main tree sees it.
type lzxSymbol struct {
	main   int
	length int // symbol of the length tree, -1 for none
	extra  uint32
	bits   byte
}

func lzxSymbols(data []byte) []lzxSymbol {
	recent := [3]int{1, 1, 1}
	var out []lzxSymbol
	at := 0
	for _, t := range matches(data, 3, 257) {
		s := lzxSymbol{length: -1}
		if t.offset == 0 {
			s.main = int(data[at])
		} else {
			slot := 0
			switch t.offset {
			case recent[0]:
			case recent[1]:
				slot = 1
				recent[0], recent[1] = recent[1], recent[0]
			case recent[2]:
				slot = 2
				recent[0], recent[2] = recent[2], recent[0]
			default:
				var base int
				slot, base, s.bits = lzxSlot(t.offset + 2)
				s.extra = uint32(t.offset + 2 - base)
				recent = [3]int{t.offset, recent[0], recent[1]}
			}
			n := t.length - 2
			if n >= 7 {
				s.length, n = n-7, 7
			}
			s.main = 256 + slot*8 + n
		}
		out = append(out, s)
		at += t.length
	}
	return out
}

// EncodeLZX compresses one chunk as a single verbatim block.
func encodeLZX(data []byte) []byte {
	data = append([]byte(nil), data...)
	encodeE8(data)
	list := lzxSymbols(data)
	main, length := make([]int, lzxMain), make([]int, lzxLengths)
	for _, s := range list {
		main[s.main]++
		if s.length >= 0 {
			length[s.length]++
		}
	}
	mainLens, lengthLens := huffmanLengths(main, lzxMaxCode), huffmanLengths(length, lzxMaxCode)
	mainCodes, lengthCodes := codes(mainLens), codes(lengthLens)
	w := &bitWriter{}
	w.put(1, 3)
	if len(data) == chunkSize {
		w.put(1, 1)
	} else {
		w.put(0, 1)
		w.put(uint32(len(data)), 16)
	}
	lzxTree(w, mainLens[:256])
	lzxTree(w, mainLens[256:])
	lzxTree(w, lengthLens)
	for _, s := range list {
		w.put(mainCodes[s.main], mainLens[s.main])
		if s.length >= 0 {
			w.put(lengthCodes[s.length], lengthLens[s.length])
		}
		w.put(s.extra, s.bits)
	}
	w.flush()
	return w.out
}

// LzxTree writes code lengths: the difference to the tree before (all zero here) modulo 17, runs of zeros as one symbol.
func lzxTree(w *bitWriter, lens []byte) {
	type item struct {
		symbol int
		extra  uint32
		bits   byte
	}
	var list []item
	freq := make([]int, 20)
	for i := 0; i < len(lens); {
		run := 0
		for i+run < len(lens) && lens[i+run] == 0 && run < 51 {
			run++
		}
		it := item{symbol: (17 - int(lens[i])) % 17}
		switch {
		case run >= 20:
			it = item{18, uint32(run - 20), 5}
		case run >= 4:
			run = min(run, 19)
			it = item{17, uint32(run - 4), 4}
		default:
			run = 1
		}
		list, i = append(list, it), i+run
		freq[it.symbol]++
	}
	pre := huffmanLengths(freq, 15)
	code := codes(pre)
	for _, l := range pre {
		w.put(uint32(l), 4)
	}
	for _, it := range list {
		w.put(code[it.symbol], pre[it.symbol])
		w.put(it.extra, it.bits)
	}
}

// EncodeE8 is the inverse of what every LZX decoder for WIMs does at the end: targets of x86 calls become absolute.
func encodeE8(b []byte) {
	for i := 0; i < len(b)-10; i++ {
		if b[i] != 0xe8 {
			continue
		}
		at, rel := int32(i), int32(le.Uint32(b[i+1:]))
		if rel >= -at && rel < lzxE8Size {
			if rel < lzxE8Size-at {
				rel += at
			} else {
				rel -= lzxE8Size
			}
			le.PutUint32(b[i+1:], uint32(rel))
		}
		i += 4
	}
}

// Compressed lays out a resource with its chunk table. It returns nil where compression would not help.
func compressed(c codec, data []byte) []byte {
	if c == codecNone {
		return nil
	}
	var table, body []byte
	for at := 0; at < len(data); at += chunkSize {
		if at > 0 {
			table = le.AppendUint32(table, uint32(len(body)))
		}
		raw := data[at:min(at+chunkSize, len(data))]
		var enc []byte
		if c == codecXPRESS {
			enc = encodeXPRESS(raw)
		} else {
			enc = encodeLZX(raw)
		}
		if len(enc) >= len(raw) {
			enc = raw
		}
		body = append(body, enc...)
	}
	if len(table)+len(body) >= len(data) {
		return nil
	}
	return append(table, body...)
}
