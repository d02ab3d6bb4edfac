package golden

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	runMin      = 32       // shorter runs are written out
	maxExpanded = 16 << 20 // no recorded frame comes near
)

// Expand decodes packed hex: lower-case digits, where (bb*n) stands for n bytes of value bb.
func Expand(packed string) ([]byte, error) {
	out := make([]byte, 0, len(packed)/2)
	for packed != "" {
		plain, rest, hasRun := strings.Cut(packed, "(")
		b, err := hex.DecodeString(plain)
		if err != nil {
			return nil, fmt.Errorf("golden: hex: %w", err)
		}
		out = append(out, b...)
		if !hasRun {
			break
		}
		run, tail, ok := strings.Cut(rest, ")")
		digits, count, ok2 := strings.Cut(run, "*")
		if !ok || !ok2 {
			return nil, fmt.Errorf("golden: hex: bad run %q", run)
		}
		one, err := hex.DecodeString(digits)
		if err != nil || len(one) != 1 {
			return nil, fmt.Errorf("golden: hex: bad byte in run %q", run)
		}
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 || len(out)+n > maxExpanded {
			return nil, fmt.Errorf("golden: hex: bad count in run %q", run)
		}
		out = append(out, bytes.Repeat(one, n)...)
		packed = tail
	}
	return out, nil
}

// Pack is the inverse of Expand, in the form of the recordings: runs of 32 equal bytes and more are folded.
func Pack(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); {
		j := i + 1
		for j < len(b) && b[j] == b[i] {
			j++
		}
		if j-i >= runMin {
			fmt.Fprintf(&s, "(%02x*%d)", b[i], j-i)
		} else {
			s.WriteString(hex.EncodeToString(b[i:j]))
		}
		i = j
	}
	return s.String()
}
