// Package tables tries the readers of machines and keys with files that other programs wrote: iconv, Python's csv, LibreOffice
// and PowerShell, each as far as it is installed, beside those that this package writes itself. Every file holds the same
// machines or keys, workbooks among them, and every reading must give exactly these. All of them are the corpus of the
// fuzz targets.
package tables
