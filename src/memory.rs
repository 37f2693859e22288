//! The allocator's habits. A poll of a large account takes and frees buffers of megabytes, and glibc learns from the first
//! ones to keep such memory for the next: after some polls half of what the process holds is free. With a threshold that
//! does not move every large buffer goes back to the system, for a twentieth more of processor time at each poll.

/// Has the allocator give back what is freed. Where the C library is another one, nothing happens.
pub fn return_what_is_free() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 256 * 1024;
        for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
            #[expect(unsafe_code, reason = "no crate that is kept well wraps it")]
            // SAFETY: it takes numbers, and sets them under the allocator's own lock.
            unsafe {
                libc::mallopt(parameter, LARGE);
            }
        }
    }
}
