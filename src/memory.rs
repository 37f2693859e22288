//! The allocator's habits. A poll of a large account takes and frees buffers of megabytes, and glibc learns from the first
//! ones to keep such memory for the next, once per thread: after some polls half of what the process holds is free. With a
//! threshold that does not move every large buffer goes back to the system; and with one heap what one thread freed the
//! next one takes. Both cost little here: large work is done by one thread at a time.

/// Has the allocator give back what is freed. Where the C library is another one, nothing happens.
pub fn return_what_is_free() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 256 * 1024;
        for (parameter, value) in
            [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE), (libc::M_ARENA_MAX, 1)]
        {
            #[expect(unsafe_code, reason = "no crate that is kept well wraps it")]
            // SAFETY: it takes numbers, and sets them under the allocator's own lock, before there is a second thread.
            unsafe {
                libc::mallopt(parameter, value);
            }
        }
    }
}
