package zstd_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/clientlib/zstd"
)

// A frame of the reference library at its default level, which is what the Java client writes (zstd-jni), for "hello world".
const reference = "28b52ffd200b59000068656c6c6f20776f726c64"

func TestReadsTheReference(t *testing.T) {
	frame, err := hex.DecodeString(reference)
	if err != nil {
		t.Fatal(err)
	}
	c := zstd.New()
	v, err := c.Decompress([]byte("before "), frame)
	if err != nil || string(v) != "before hello world" {
		t.Errorf("%q, %v", v, err)
	}
	// So short a value cannot be compressed, and both wrap it in the same way: magic, size in one byte, one raw block.
	if got := c.Compress(nil, []byte("hello world")); hex.EncodeToString(got) != reference {
		t.Errorf("writes %x, the reference %s", got, reference)
	}
}

func TestRoundTripAndPlainValues(t *testing.T) {
	c := zstd.New()
	for _, v := range []string{"", "a", strings.Repeat("compressible ", 10000), "\x28\xb5\x2f\xfd no frame", "\x28\xb5\x2f", "plain"} {
		z := c.Compress(nil, []byte(v))
		if back, err := c.Decompress(nil, z); err != nil || string(back) != v {
			t.Errorf("%.20q came back as %.20q, %v", v, back, err)
		}
		if len(v) > 1000 && len(z) > len(v)/10 {
			t.Errorf("%d bytes became %d", len(v), len(z))
		}
		// A value that was written without compression.
		if back, err := c.Decompress([]byte("x"), []byte(v)); err != nil || string(back) != "x"+v {
			t.Errorf("plain %.20q came back as %.20q, %v", v, back, err)
		}
	}
}

// Through a client: what is stored is compressed, in every operation that carries values.
func TestClient(t *testing.T) {
	c := clienttest.New(t, 1, 1, 2)
	open := func(o clientlib.Options) *clientlib.Table {
		o.Metas = c.Metas()
		client, err := clientlib.Dial(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		table, err := client.OpenTable(context.Background(), c.Table)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	ctx := context.Background()
	z, plain := open(clientlib.Options{Compressor: zstd.New()}), open(clientlib.Options{})
	h, s, v := []byte("h"), []byte("s"), bytes.Repeat([]byte("v"), 1000)
	stored := func(what string, sortKey []byte) {
		t.Helper()
		raw, err := plain.Get(ctx, h, sortKey)
		if err != nil || len(raw) == 0 || len(raw) > 100 {
			t.Errorf("%s: stored are %d bytes, %v", what, len(raw), err)
		}
		if got, err := z.Get(ctx, h, sortKey); err != nil || !bytes.Equal(got, v) {
			t.Errorf("%s: read are %d bytes, %v", what, len(got), err)
		}
	}
	if err := z.Set(ctx, h, s, v); err != nil {
		t.Fatal(err)
	}
	stored("set", s)
	if err := z.MultiSet(ctx, h, [][]byte{[]byte("m")}, [][]byte{v}); err != nil {
		t.Fatal(err)
	}
	stored("multi set", []byte("m"))
	if r, err := z.CheckAndSet(ctx, h, s, clientlib.CheckTypeValueExist, nil, []byte("c"), v,
		&clientlib.CheckAndSetOptions{ReturnCheckValue: true}); err != nil || !r.SetSucceed || !bytes.Equal(r.CheckValue, v) {
		t.Errorf("check and set: %v", err)
	}
	stored("check and set", []byte("c"))
	kvs, _, err := z.MultiGet(ctx, h, nil)
	if err != nil || len(kvs) != 3 || !bytes.Equal(kvs[2].Value, v) {
		t.Errorf("multi get: %d, %v", len(kvs), err)
	}
	scan, err := z.GetOrderedScanner(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range scan.All(ctx) {
		if err != nil || !bytes.Equal(r.Value, v) {
			t.Errorf("scan: %d bytes, %v", len(r.Value), err)
		}
	}
	if err := plain.Set(ctx, h, s, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if got, err := z.Get(ctx, h, s); err != nil || string(got) != "old" {
		t.Errorf("a plain value: %q, %v", got, err)
	}
}
