package proto

import "encoding/binary"

// The hash that places keys: CRC-64/NVME (reflected, all bits of the initial and final value set). Eight bytes are taken
// per step. hash/crc64 would do that only for its own polynomials and for inputs of 2 KiB and more.

const keyPoly = 0x9a6c9329ac4bc9b5

var keyTables = func() *[8][256]uint64 {
	t := new([8][256]uint64)
	for i := range t[0] {
		crc := uint64(i)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ keyPoly
			} else {
				crc >>= 1
			}
		}
		t[0][i] = crc
	}
	for i := range t[0] {
		for k := 1; k < 8; k++ {
			t[k][i] = t[0][byte(t[k-1][i])] ^ t[k-1][i]>>8
		}
	}
	return t
}()

// KeyHash returns the partition hash of a hash key: the partition is the hash modulo the partition count, as u64
// (spec rrdb 4). It does not allocate.
func KeyHash(hashKey []byte) uint64 {
	t := keyTables
	crc := ^uint64(0)
	for len(hashKey) >= 8 {
		crc ^= binary.LittleEndian.Uint64(hashKey)
		crc = t[7][byte(crc)] ^ t[6][byte(crc>>8)] ^ t[5][byte(crc>>16)] ^ t[4][byte(crc>>24)] ^
			t[3][byte(crc>>32)] ^ t[2][byte(crc>>40)] ^ t[1][byte(crc>>48)] ^ t[0][crc>>56]
		hashKey = hashKey[8:]
	}
	for _, b := range hashKey {
		crc = t[0][byte(crc)^b] ^ crc>>8
	}
	return ^crc
}

// RawKeyHash returns the partition hash of an encoded key (u16 length of the hash key, hash key, sort key): the hash of
// the hash key, or of the sort key when the hash key is empty. A key that is shorter than it says has hash 0.
func RawKeyHash(raw []byte) uint64 {
	if len(raw) < 2 {
		return 0
	}
	n := int(binary.BigEndian.Uint16(raw))
	rest := raw[2:]
	switch {
	case n == 0:
		return KeyHash(rest)
	case n > len(rest):
		return 0
	}
	return KeyHash(rest[:n])
}
