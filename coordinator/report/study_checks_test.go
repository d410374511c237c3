package report

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dither-ml/dither/coordinator/study"
)

// numbers are a figure's, by panel and series, after a check of its three files: the picture is XML with marks in it, and CSV and JSON say the same.
func numbers(t *testing.T, dir, name string) map[string][][]string {
	t.Helper()
	base := filepath.Join(dir, FiguresFolder, name)
	checkSVG(t, base+".svg")
	f, err := os.Open(base + ".csv")
	must(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	must(t, err)
	b, err := os.ReadFile(base + ".json")
	must(t, err)
	var whole struct {
		Name, Title, Caption string
		Data                 []struct {
			Panel, Series, Category string
			X, Y, Low, High         *float64
			N                       int
		}
	}
	must(t, json.Unmarshal(b, &whole))
	if whole.Name != name || whole.Caption == "" || whole.Title == "" {
		t.Errorf("%s.json says of itself %q, %q, %q", name, whole.Name, whole.Title, whole.Caption)
	}
	if len(rows) != len(whole.Data)+1 || strings.Join(rows[0], ",") != "panel,series,x,y,low,high,n" {
		t.Fatalf("%s: %d lines of CSV (header %v), %d numbers of JSON", name, len(rows), rows[0], len(whole.Data))
	}
	out := map[string][][]string{}
	for i, d := range whole.Data {
		row := rows[i+1]
		x := same(d.X)
		if d.Category != "" {
			x = d.Category
		}
		if want := []string{d.Panel, d.Series, x, same(d.Y), same(d.Low), same(d.High), strconv.Itoa(d.N)}; strings.Join(row, "|") != strings.Join(want, "|") {
			t.Errorf("%s: CSV has %q and JSON %q", name, row, want)
		}
		key := d.Panel + "/" + d.Series
		out[key] = append(out[key], row[2:])
	}
	return out
}

func same(p *float64) string {
	if p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'g', -1, 64)
}

// line is how an estimate stands in a figure's CSV.
func line(x string, e *study.Estimate) string {
	return strings.Join([]string{x, same(&e.Mean), same(e.Low), same(e.High), strconv.Itoa(e.N)}, ",")
}

// has fails where a series of a figure lacks a number.
func has(t *testing.T, figure map[string][][]string, series, want string) {
	t.Helper()
	for _, row := range figure[series] {
		if strings.Join(row, ",") == want {
			return
		}
	}
	t.Errorf("%s lacks %s; it has %v", series, want, figure[series])
}

var (
	svgTag  = regexp.MustCompile(`<svg [^>]*>`)
	outside = regexp.MustCompile(`(?i)(src=|url\(|@import|<script|<link|<iframe|https?://)`)
)

// checkPage: whole, alone, and with a text for every picture that says something.
func checkPage(t *testing.T, page string) {
	t.Helper()
	pictures := 0
	for _, tag := range svgTag.FindAllString(page, -1) {
		said := regexp.MustCompile(`role="img" aria-label="([^"]+)"`).FindStringSubmatch(tag)
		switch {
		case said != nil && len(said[1]) > 30:
			pictures++
		case !strings.Contains(tag, `aria-hidden="true"`):
			t.Errorf("a picture without a text: %s", tag)
		}
	}
	if pictures == 0 {
		t.Error("no picture has a text")
	}
	for _, found := range outside.FindAllString(strings.ReplaceAll(page, `xmlns="http://www.w3.org/2000/svg"`, ""), -1) {
		t.Errorf("the page needs something from outside: %s", found)
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") && !strings.Contains(page, "Inference") {
		t.Error("there is a number that is none")
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// again fails where the same summary gives other bytes.
func again(t *testing.T, dir string, s *study.Summary) {
	t.Helper()
	read := func() map[string]string {
		out := map[string]string{}
		files, err := filepath.Glob(filepath.Join(dir, FiguresFolder, "*"))
		must(t, err)
		for _, f := range append(files, filepath.Join(dir, PageFile)) {
			b, err := os.ReadFile(f)
			must(t, err)
			out[f] = string(b)
		}
		return out
	}
	before := read()
	_, err := WriteStudy(dir, s, Options{Version: "v0-test"})
	must(t, err)
	for f, text := range read() {
		if before[f] != text {
			t.Errorf("%s is not the same a second time", f)
		}
	}
}
