package study

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// ErrNoStudy: the folder holds no study.
var ErrNoStudy = errors.New("holds no study")

// Save writes study.yaml, whole or not at all; the folder is made.
func Save(dir string, s *ditherv1.StudySpec) error {
	if err := ditherv1.ValidateStudy(s); err != nil {
		return err
	}
	asJSON, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing a study: %w", err)
	}
	text, err := yaml.JSONToYAML(asJSON)
	if err != nil {
		return fmt.Errorf("writing a study: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making a study's folder: %w", err)
	}
	const head = "# The runs of this study are a function of what stands here: every arm with every seed, in every phase. `dither sweep` with the same words goes on where it was.\n"
	return runlog.WriteFile(filepath.Join(dir, SpecFile), append([]byte(head), text...))
}

// Load reads study.yaml, refusing keys that it does not know and what ValidateStudy refuses. A folder without one is ErrNoStudy.
func Load(dir string) (*ditherv1.StudySpec, error) {
	path := filepath.Join(dir, SpecFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s %w: %s is not there", dir, ErrNoStudy, SpecFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a study: %w", err)
	}
	s := &ditherv1.StudySpec{}
	if err := fromYAML(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := ditherv1.ValidateStudy(s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// SaveTeacher writes teacher.json, whole or not at all.
func SaveTeacher(dir string, t *Teacher) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("writing what was measured of the teacher: %w", err)
	}
	return runlog.WriteFile(filepath.Join(dir, TeacherFile), append(b, '\n'))
}

// LoadTeacher is the way back; nil where the teacher was not measured.
func LoadTeacher(dir string) (*Teacher, error) {
	path := filepath.Join(dir, TeacherFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was measured of the teacher: %w", err)
	}
	t := &Teacher{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and the teacher is measured again", path, err)
	}
	return t, nil
}

// fromYAML reads a message by protojson's names.
func fromYAML(text []byte, m proto.Message) error {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return fmt.Errorf("not YAML: %s", strings.SplitN(err.Error(), "\n", 2)[0])
	}
	err = protojson.Unmarshal(asJSON, m)
	if err != nil {
		// Without protojson's own prefix and its position in a text that nobody saw.
		s := strings.ReplaceAll(err.Error(), "\u00a0", " ")
		if i := strings.Index(s, "): "); i >= 0 {
			s = s[i+3:]
		}
		return errors.New(strings.TrimPrefix(s, "proto: "))
	}
	return nil
}
