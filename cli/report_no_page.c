/* SPDX-License-Identifier: Apache-2.0
 *
 * report_no_page.c - in place of the page, where the command is built without node and npm's packages.
 */
#include "report_page.h"

const unsigned char report_page_head[] = { 0 }, report_page_tail[] = { 0 };
const size_t report_page_head_size = 0, report_page_tail_size = 0;
