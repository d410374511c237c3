package report

import (
	_ "embed"
	"html/template"
)

//go:embed skeleton.html
var skeletonText string

// skeleton is a page in the making: one look for all pages, to which text adds "title", "content" and, where it needs any of its own, "style". No page needs another file, or a script.
func skeleton(text string) *template.Template {
	return template.Must(template.Must(template.New("page").Parse(skeletonText)).Parse(text))
}
