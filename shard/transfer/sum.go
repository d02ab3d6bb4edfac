package transfer

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumOf(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// The checksum of a whole file follows from those of its blocks: crc(ab) = crc(a)·x^(8·len b) + crc(b) in the polynomials
// modulo the CRC's one. So nobody reads a file twice, and a manifest whose sums do not fit together is refused before a byte
// was copied. Polynomials are kept as crc32 keeps them, the lowest power in the highest bit.

// powers[k] is x^(2^k).
var powers = func() (p [48]uint32) {
	p[0] = 1 << 30
	for k := 1; k < len(p); k++ {
		p[k] = mulPoly(p[k-1], p[k-1])
	}
	return p
}()

// blockShift is x^(8·BlockSize).
var blockShift = shiftBy(BlockSize)

func mulPoly(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}

// shiftBy returns x^(8·n).
func shiftBy(n int64) uint32 {
	p := uint32(1) << 31
	for k := 3; n != 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			p = mulPoly(powers[k], p)
		}
	}
	return p
}

// wholeSum is the crc32c of a file of the given size from those of its blocks.
func wholeSum(size int64, blocks []uint32) uint32 {
	var sum uint32
	for i, b := range blocks {
		shift := blockShift
		if i == len(blocks)-1 {
			shift = shiftBy(size - int64(i)*BlockSize)
		}
		sum = mulPoly(shift, sum) ^ b
	}
	return sum
}
