package proto

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// The bytes of a peer frame are a format on the wire between versions: they may change only with PeerVersion.
func TestPeerGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/peer_v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	beacon := NodeBeacon{Node: NodeID{0: 1, 15: 0xff}, Incarnation: 2, SentAt: 3, Revision: 4}
	out, mark := AppendPeerFrame(nil, PeerBeacon, 0x0102, 0x0304050607080910)
	out = FinishPeerFrame(Marshal(out, &beacon), mark)
	if string(out) != string(want) {
		t.Fatalf("built\n%x, want\n%x", out, want)
	}
	var f PeerFrame
	n, need, err := ParsePeer(append(want, 1), 200, &f)
	if n != len(want) || need != 0 || err != nil {
		t.Fatalf("n=%d need=%d %v", n, need, err)
	}
	var got NodeBeacon
	if err := Unmarshal(f.Body, &got); err != nil || got != beacon {
		t.Errorf("%+v, %v", got, err)
	}
	if f.Kind != PeerBeacon || f.Flags != 0x0102 || f.Seq != 0x0304050607080910 {
		t.Errorf("%+v", f)
	}
	for cut := range want {
		if n, need, err := ParsePeer(want[:cut], 200, &f); n != 0 || need <= cut || need > len(want) || err != nil {
			t.Fatalf("cut at %d: n=%d need=%d %v", cut, n, need, err)
		}
	}
}

func TestPeerErrors(t *testing.T) {
	frame, mark := AppendPeerFrame(nil, PeerReport, 0, 1)
	frame = FinishPeerFrame(append(frame, "some body"...), mark)
	for _, c := range []struct {
		at   int
		want error
	}{
		{0, ErrBadMagic}, {3, ErrBadMagic}, {peerVersionAt, ErrBadVersion}, {peerLenAt + 3, ErrFrameTooLarge},
		{peerCRCAt, ErrBadBodyCRC}, {PeerHeaderLen, ErrBadBodyCRC}, {len(frame) - 1, ErrBadBodyCRC},
	} {
		bad := append([]byte(nil), frame...)
		bad[c.at] ^= 0x40
		var f PeerFrame
		if n, _, err := ParsePeer(bad, 200, &f); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("byte %d: n=%d %v, want %v", c.at, n, err, c.want)
		}
	}
	var f PeerFrame
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		out, mark := AppendPeerFrame(buf, PeerReport, 0, 1)
		if n, _, err := ParsePeer(FinishPeerFrame(out, mark), 200, &f); n == 0 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
