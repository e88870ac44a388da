/* SPDX-License-Identifier: Apache-2.0
 *
 * trap_x86_64.S - void trap_call_on(void (*fn)(void *), void *arg, void *top)
 *
 * The frame pointer stays on the caller's stack, so that a debugger finds its way back.
 */
        .text
        .globl  trap_call_on
        .hidden trap_call_on
        .type   trap_call_on, @function
trap_call_on:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdx, %rsp
        movq    %rdi, %rax
        movq    %rsi, %rdi
        call    *%rax
        leave
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   trap_call_on, .-trap_call_on
        .section .note.GNU-stack, "", @progbits
