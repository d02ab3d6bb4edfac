package proto

import "encoding/binary"

// Glance tells which partition the first frame of in, a native one or one of thrift, is for, and how long that frame is; n is 0
// when a glance does not tell, or the frame is not all there. It checks next to nothing, so what it says is good for a guess only.
func Glance(in []byte, native bool) (g GPID, n int) {
	switch {
	case native:
		if len(in) < NativeHeaderLen {
			return g, 0
		}
		g = GPID{App: int32(binary.LittleEndian.Uint32(in[rdsnApp:])), Part: int32(binary.LittleEndian.Uint32(in[rdsnPart:]))}
		n = NativeHeaderLen + int(binary.LittleEndian.Uint32(in[rdsnBodyLen:]))
	case len(in) >= thft0HeaderLen && binary.BigEndian.Uint32(in[4:]) == 0:
		g = GPID{App: int32(binary.BigEndian.Uint32(in[24:])), Part: int32(binary.BigEndian.Uint32(in[28:]))}
		n = thft0HeaderLen + int(binary.BigEndian.Uint32(in[16:]))
	}
	if n > len(in) {
		return g, 0
	}
	return g, n
}

// GlanceRepl is Glance for the messages of a PeerRepl frame, behind its version byte.
func GlanceRepl(in []byte) (g GPID, n int) {
	if len(in) < ReplHeaderLen {
		return g, 0
	}
	g = GPID{App: int32(binary.LittleEndian.Uint32(in[8:])), Part: int32(binary.LittleEndian.Uint32(in[12:]))}
	n = ReplHeaderLen + int(binary.LittleEndian.Uint32(in[4:]))
	if in[1]&replHasConfig != 0 {
		n += nodeIDLen * (1 + int(binary.LittleEndian.Uint16(in[2:])))
	}
	if n > len(in) {
		return g, 0
	}
	return g, n
}
