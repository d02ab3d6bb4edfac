package rrdb

import "math"

// ParseInt reads an int64 the way the original does, with C's strtoll in base 0 over the whole value: leading white
// space, one sign, then 0x for hexadecimal, 0 for octal, or decimal. ok is false for anything else and out of range.
func ParseInt(s []byte) (v int64, ok bool) {
	for len(s) > 0 && (s[0] == ' ' || s[0] >= '\t' && s[0] <= '\r') {
		s = s[1:]
	}
	negative := false
	if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
		negative = s[0] == '-'
		s = s[1:]
	}
	base := uint64(10)
	switch {
	case len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x':
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if len(s) == 0 {
		return 0, false
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	n := uint64(0)
	for _, c := range s {
		d := digit(c)
		if d >= base || n > (limit-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	if negative {
		return -int64(n), true
	}
	return int64(n), true
}

// digit returns the value of a hexadecimal digit, or a number that is none in any base.
func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return math.MaxUint8
}
