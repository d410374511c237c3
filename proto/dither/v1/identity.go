package ditherv1

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// canonicalVersion is the first line of the canonical text; a change of the format changes it.
const canonicalVersion = "dither.v1.RunSpec/1"

// Canonical is the spec's canonical text, whose sha256 identifies the run: one line for each scalar that is not zero, `path=value`, in the
// order of field numbers, maps by key. docs/identity.md defines it for other languages. It does not depend on protobuf's encoding, and a
// field added later does not change the text of a spec that leaves it unset.
func Canonical(s *RunSpec) string { return canonical(canonicalVersion, s.ProtoReflect()) }

func canonical(version string, m protoreflect.Message) string {
	var b strings.Builder
	b.WriteString(version + "\n")
	for _, l := range leaves(m, "") {
		b.WriteString(l.path + "=" + l.canonical + "\n")
	}
	return b.String()
}

// Hash is the sha256 of the canonical text, in hex: the identity of a run.
func Hash(s *RunSpec) string { return hexSHA256(Canonical(s)) }

func hexSHA256(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// Differences names each scalar in which two specs differ, for people: "optimizer.lr is 0.1 here and 0.01 there".
func Differences(here, there *RunSpec) []string {
	return differences(here.ProtoReflect(), there.ProtoReflect())
}

// StudyDifferences is Differences of two studies.
func StudyDifferences(here, there *StudySpec) []string {
	return differences(here.ProtoReflect(), there.ProtoReflect())
}

func differences(here, there protoreflect.Message) []string {
	a, b := map[string]string{}, map[string]string{}
	for _, l := range leaves(here, "") {
		a[l.path] = l.human
	}
	for _, l := range leaves(there, "") {
		b[l.path] = l.human
	}
	var paths []string
	for p := range a {
		paths = append(paths, p)
	}
	for p := range b {
		if _, both := a[p]; !both {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []string
	for _, p := range paths {
		if a[p] != b[p] {
			out = append(out, fmt.Sprintf("%s is %s here and %s there", p, orUnset(a[p]), orUnset(b[p])))
		}
	}
	return out
}

func orUnset(v string) string {
	if v == "" {
		return "unset"
	}
	return v
}

// leaf is one scalar of a message.
type leaf struct{ path, canonical, human string }

func leaves(m protoreflect.Message, prefix string) []leaf {
	fields := m.Descriptor().Fields()
	order := make([]protoreflect.FieldDescriptor, fields.Len())
	for i := range order {
		order[i] = fields.Get(i)
	}
	slices.SortFunc(order, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	var out []leaf
	for _, f := range order {
		if !m.Has(f) {
			continue
		}
		path, v := prefix+string(f.Name()), m.Get(f)
		switch {
		case f.IsMap():
			var keys []string
			v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				keys = append(keys, k.String())
				return true
			})
			slices.Sort(keys)
			for _, k := range keys {
				out = append(out, scalar(path+"["+k+"]", f.MapValue(), v.Map().Get(protoreflect.ValueOfString(k).MapKey())))
			}
		case f.IsList():
			for i := range v.List().Len() {
				element := path + "[" + strconv.Itoa(i) + "]"
				if f.Kind() == protoreflect.MessageKind {
					out = append(out, leaves(v.List().Get(i).Message(), element+".")...)
				} else {
					out = append(out, scalar(element, f, v.List().Get(i)))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			out = append(out, leaves(v.Message(), path+".")...)
		default:
			out = append(out, scalar(path, f, v))
		}
	}
	return out
}

// scalar writes integers in decimal, doubles as the 16 hex digits of their bits (no two languages print them alike), strings quoted.
func scalar(path string, f protoreflect.FieldDescriptor, v protoreflect.Value) leaf {
	switch f.Kind() {
	case protoreflect.DoubleKind:
		return leaf{path, fmt.Sprintf("%016x", math.Float64bits(v.Float())), strconv.FormatFloat(v.Float(), 'g', -1, 64)}
	case protoreflect.StringKind:
		q := strconv.QuoteToASCII(v.String())
		return leaf{path, q, q}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		n := strconv.FormatUint(v.Uint(), 10)
		return leaf{path, n, n}
	}
	panic("spec: the canonical text has no form for fields of kind " + f.Kind().String())
}
