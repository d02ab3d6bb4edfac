package loop

import (
	"bytes"
	"testing"
)

func TestEcho(t *testing.T) {
	for name, mode := range map[string]TurnMode{"auto": TurnAuto, "batch": TurnBatch, "inline": TurnInline} {
		t.Run(name, func(t *testing.T) {
			l := startLoop(t, Config{Turns: mode}, newEcho())
			c := dial(t, l)
			for i := range 200 {
				f := frame(bytes.Repeat([]byte{byte(i)}, i*7))
				send(t, c, f)
				expect(t, c, f)
			}
		})
	}
}
