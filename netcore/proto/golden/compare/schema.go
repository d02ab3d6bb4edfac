// Package compare is a second opinion on replies: it decodes the raw bytes of a THFT, RDSN or HTTP reply into the
// normalised form of the recordings and tells where the two differ. It deliberately shares no codec with package proto:
// a reply is walked by a table of the IDL (idl.txt), so that a wrong field id, wire type or type in our codecs cannot
// hide in a decoder that has the same mistake. It knows nothing of sockets and clusters. Tests alone import it.
package compare

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed idl.txt
var idl string

// kind is a type of the IDL.
type kind uint8

const (
	kindBool kind = iota
	kindByte
	kindI16
	kindI32
	kindI64
	kindString
	kindBlob
	kindName // error_code, task_code: a bare string
	kindGPID
	kindAddress  // rpc_address
	kindHostPort // host_port
	kindStruct
	kindList
	kindSet
	kindMap
)

// wire is the type byte that announces a value of a kind. Pegasus announces its primitives as structs although their
// bytes are bare.
var wire = map[kind]byte{
	kindBool: 2, kindByte: 3, kindI16: 6, kindI32: 8, kindI64: 10, kindString: 11,
	kindBlob: 12, kindName: 12, kindGPID: 12, kindAddress: 12, kindHostPort: 12, kindStruct: 12,
	kindMap: 13, kindSet: 14, kindList: 15,
}

var primitives = map[string]kind{
	"bool": kindBool, "byte": kindByte, "i16": kindI16, "i32": kindI32, "i64": kindI64, "string": kindString,
	"blob": kindBlob, "error_code": kindName, "task_code": kindName, "gpid": kindGPID, "rpc_address": kindAddress,
	"host_port": kindHostPort,
}

// typ is a type tree. fields of a struct are shared, so that the tree is small.
type typ struct {
	kind   kind
	key    *typ // of a map
	elem   *typ // of a list, set or map
	fields map[int16]field
}

type field struct {
	name string
	typ  *typ
}

// schema is the parsed IDL: the result type of every RPC.
type schema struct {
	structs map[string]*typ
	results map[string]*typ
}

var results = mustParse(idl).results

func mustParse(text string) *schema {
	s, err := parseIDL(text)
	if err != nil {
		panic("BUG: idl.txt: " + err.Error())
	}
	return s
}

func parseIDL(text string) (*schema, error) {
	s := &schema{structs: map[string]*typ{}, results: map[string]*typ{}}
	lines := strings.Split(text, "\n")
	for _, line := range lines { // structs may name structs of later lines
		if head, _, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(head, "struct ") {
			s.structs[head[len("struct "):]] = &typ{kind: kindStruct, fields: map[int16]field{}}
		}
	}
	for _, line := range lines {
		if line == "" || line[0] == '#' {
			continue
		}
		head, body, ok := strings.Cut(line, ":")
		what, name, ok2 := strings.Cut(head, " ")
		if !ok || !ok2 {
			return nil, fmt.Errorf("bad line %q", line)
		}
		body = strings.TrimSpace(body)
		var err error
		switch what {
		case "struct":
			err = s.parseFields(s.structs[name], body)
		case "rpc":
			s.results[name], err = s.parseType(body)
		default:
			err = fmt.Errorf("bad line %q", line)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", head, err)
		}
	}
	return s, nil
}

func (s *schema) parseFields(t *typ, body string) error {
	for _, part := range strings.Split(body, "; ") {
		words := strings.Fields(part)
		if len(words) != 3 {
			return fmt.Errorf("bad field %q", part)
		}
		id, err := strconv.ParseInt(words[0], 10, 16)
		if err != nil {
			return fmt.Errorf("bad field number %q", words[0])
		}
		ft, err := s.parseType(words[2])
		if err != nil {
			return err
		}
		t.fields[int16(id)] = field{name: words[1], typ: ft}
	}
	return nil
}

func (s *schema) parseType(text string) (*typ, error) {
	if k, ok := primitives[text]; ok {
		return &typ{kind: k}, nil
	}
	if t, ok := s.structs[text]; ok {
		return t, nil
	}
	outer, inner, ok := strings.Cut(strings.TrimSuffix(text, ">"), "<")
	if !ok {
		return nil, fmt.Errorf("unknown type %q", text)
	}
	switch outer {
	case "list", "set":
		elem, err := s.parseType(inner)
		if outer == "set" {
			return &typ{kind: kindSet, elem: elem}, err
		}
		return &typ{kind: kindList, elem: elem}, err
	case "map":
		k, v, _ := strings.Cut(inner, ",")
		key, err := s.parseType(k)
		if err != nil {
			return nil, err
		}
		elem, err := s.parseType(v)
		return &typ{kind: kindMap, key: key, elem: elem}, err
	}
	return nil, fmt.Errorf("unknown type %q", text)
}
