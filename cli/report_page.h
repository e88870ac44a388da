/* SPDX-License-Identifier: Apache-2.0
 *
 * report_page.h - the page that a report is put into: made by report/bundle.mjs from report/, or, where
 * that could not be done, report_no_page.c.
 */
#ifndef FAULTLINE_CLI_REPORT_PAGE_H
#define FAULTLINE_CLI_REPORT_PAGE_H

#include <stddef.h>

/* What comes before the document and what after it; nothing: this build has no page. */
extern const unsigned char report_page_head[], report_page_tail[];
extern const size_t report_page_head_size, report_page_tail_size;

#endif
