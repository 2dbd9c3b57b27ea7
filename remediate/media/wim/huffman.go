package wim

import (
	"cmp"
	"slices"
)

// HuffmanLengths gives every used symbol a code length of at most limit bits, so that the code is complete: decoders
// of Windows and others refuse one that is not. At least two symbols get a code unless none is used.
func huffmanLengths(freq []int, limit int) []byte {
	lens := make([]byte, len(freq))
	f := slices.Clone(freq)
	used := 0
	for _, n := range f {
		if n > 0 {
			used++
		}
	}
	for s := 0; used == 1 && s < len(f); s++ { // a partner for the only symbol
		if f[s] == 0 {
			f[s], used = 1, 2
		}
	}
	if used == 0 {
		return lens
	}
	for {
		if treeDepths(f, lens) <= limit {
			return lens
		}
		for s, n := range f { // flatter frequencies make a flatter tree
			if n > 0 {
				f[s] = n/2 + 1
			}
		}
	}
}

// TreeDepths builds a Huffman tree over the used symbols, notes the depth of each and returns the largest.
func treeDepths(freq []int, lens []byte) int {
	type node struct{ freq, left, right int }
	var nodes []node
	var leaves []int // symbols
	for s, n := range freq {
		if n > 0 {
			leaves = append(leaves, s)
		}
	}
	slices.SortStableFunc(leaves, func(a, b int) int { return cmp.Compare(freq[a], freq[b]) })
	for _, s := range leaves {
		nodes = append(nodes, node{freq[s], -1, -1})
	}
	// Two queues, both sorted: the leaves, and the inner nodes in the order of their making.
	leaf, inner := 0, len(leaves)
	next := func() int {
		if leaf < len(leaves) && (inner >= len(nodes) || nodes[leaf].freq <= nodes[inner].freq) {
			leaf++
			return leaf - 1
		}
		inner++
		return inner - 1
	}
	for len(nodes) < 2*len(leaves)-1 {
		a := next()
		b := next()
		nodes = append(nodes, node{nodes[a].freq + nodes[b].freq, a, b})
	}
	depth, deepest := make([]int, len(nodes)), 0
	for i := len(nodes) - 1; i >= len(leaves); i-- {
		depth[nodes[i].left], depth[nodes[i].right] = depth[i]+1, depth[i]+1
	}
	for i, s := range leaves {
		lens[s] = byte(min(depth[i], 255))
		deepest = max(deepest, depth[i])
	}
	return deepest
}

// Codes assigns the canonical codes: by length, then by symbol.
func codes(lens []byte) []uint32 {
	var count, next [18]uint32
	for _, l := range lens {
		count[l]++
	}
	count[0] = 0
	for l := 1; l < len(next); l++ {
		next[l] = (next[l-1] + count[l-1]) << 1
	}
	out := make([]uint32, len(lens))
	for s, l := range lens {
		if l > 0 {
			out[s] = next[l]
			next[l]++
		}
	}
	return out
}

// BitWriter writes 16-bit little-endian words from the top bit, as LZX and XPRESS have it.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

func (w *bitWriter) put(v uint32, n byte) {
	w.bits = w.bits<<n | uint64(v)
	for w.n += uint(n); w.n >= 16; w.n -= 16 {
		word := uint16(w.bits >> (w.n - 16))
		w.out = append(w.out, byte(word), byte(word>>8))
	}
}

func (w *bitWriter) flush() {
	if w.n > 0 {
		w.put(0, byte(16-w.n))
	}
}
