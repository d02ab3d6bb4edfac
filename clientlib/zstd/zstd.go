// Package zstd compresses values as the Java client of Pegasus does when its tables have compression enabled, so that
// applications of both may share a table. A value is one zstd frame at the default level, without checksum; what is read and
// is no zstd frame is taken for a value that was written without compression (ZstdWrapper.compress and tryDecompress).
//
//	client, err := clientlib.Dial(clientlib.Options{Metas: metas, Compressor: zstd.New()})
//
// It is a package of its own because it needs a library, which package clientlib must not.
package zstd

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// MaxValue bounds what one value may grow to when it is decompressed, in bytes.
const MaxValue = 256 << 20

// magic begins every frame (RFC 8878).
var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// Compressor is a clientlib.Compressor.
type Compressor struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// New returns a Compressor. Its memory grows with the number of goroutines that use it at once, up to one for each processor.
func New() *Compressor {
	// The errors are those of options that contradict each other.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithZeroFrames(true))
	if err != nil {
		panic(err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxValue), zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		panic(err)
	}
	return &Compressor{enc: enc, dec: dec}
}

// Compress appends the compressed value to dst.
func (c *Compressor) Compress(dst, value []byte) []byte { return c.enc.EncodeAll(value, dst) }

// Decompress appends the original to dst: the value itself when it is no zstd frame. The error is that of a value larger than
// MaxValue.
func (c *Compressor) Decompress(dst, value []byte) ([]byte, error) {
	if !bytes.HasPrefix(value, magic) {
		return append(dst, value...), nil
	}
	out, err := c.dec.DecodeAll(value, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return dst, fmt.Errorf("zstd: a value of more than %d bytes: %w", MaxValue, err)
	case err != nil:
		return append(dst[:len(dst):len(dst)], value...), nil
	}
	return out, nil
}
