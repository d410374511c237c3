package checkpoint

import (
	"fmt"
	"strconv"
	"strings"
)

// Keys of __metadata__ beside those of metaFields.
const (
	kindKey         = "dither"          // what the file is
	kindCheckpoint  = "checkpoint/1"    // Encode's, version 1
	kindExport      = "export/1"        // Export's, version 1
	momentumHashKey = "momentum_sha256" // hash of the momentum tensors, laid out as the parameters'
)

// metaFields are the fields of m under their keys: one list for both ways.
func metaFields(m *Meta) (text map[string]*string, ints map[string]*int, lists map[string]*[]float64) {
	return map[string]*string{
			"version": &m.Version, "spec_sha256": &m.SpecSHA256, "arithmetic": &m.Arithmetic, "model": &m.Model, "shortcut": &m.Shortcut,
			"dataset": &m.Dataset, "parameters_sha256": &m.ParametersSHA256, "source": &m.Source,
		}, map[string]*int{"classes": &m.Classes, "channels": &m.Channels, "height": &m.Height, "width": &m.Width},
		map[string]*[]float64{"mean": &m.Mean, "std": &m.Std}
}

// metadata is m as __metadata__: all values are strings, zero fields are left out, floats are the shortest decimals that give the same bits.
func (m Meta) metadata(kind string) map[string]string {
	out := map[string]string{kindKey: kind}
	text, ints, lists := metaFields(&m)
	for k, p := range text {
		if *p != "" {
			out[k] = *p
		}
	}
	for k, p := range ints {
		if *p != 0 {
			out[k] = strconv.Itoa(*p)
		}
	}
	for k, p := range lists {
		if len(*p) > 0 {
			parts := make([]string, len(*p))
			for i, v := range *p {
				parts[i] = strconv.FormatFloat(v, 'g', -1, 64)
			}
			out[k] = strings.Join(parts, ",")
		}
	}
	if m.Iteration != 0 {
		out["iteration"] = strconv.FormatUint(uint64(m.Iteration), 10)
	}
	return out
}

// parseMeta is the way back.
func parseMeta(in map[string]string) (m Meta, err error) {
	text, ints, lists := metaFields(&m)
	for k, p := range text {
		*p = in[k]
	}
	bad := func(k string) error {
		return fmt.Errorf("its metadata says %s = %q, which is no value for it: %w", k, in[k], ErrFormat)
	}
	for k, p := range ints {
		if v, ok := in[k]; ok {
			if *p, err = strconv.Atoi(v); err != nil || *p < 0 {
				return m, bad(k)
			}
		}
	}
	for k, p := range lists {
		if v, ok := in[k]; ok {
			for part := range strings.SplitSeq(v, ",") {
				f, err := strconv.ParseFloat(part, 64)
				if err != nil {
					return m, bad(k)
				}
				*p = append(*p, f)
			}
		}
	}
	if v, ok := in["iteration"]; ok {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return m, bad("iteration")
		}
		m.Iteration = uint32(n)
	}
	return m, nil
}
