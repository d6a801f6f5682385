use burn::tensor::{Distribution, Int, Tensor, activation, s};
use dynlayer::burn;
use dynlayer::model::Backend;
fn main() {
    let device = Backend::Wgpu.device().unwrap();
    let which = std::env::args().nth(1).unwrap();
    let r3 = |sh: [usize; 3]| Tensor::<3>::random(sh, Distribution::Default, &device);
    let w = Tensor::<2>::random([576, 576], Distribution::Default, &device);
    let x = r3([1, 1, 576]);
    let cos = Tensor::<4>::random([1, 1, 1, 64], Distribution::Default, &device);
    let cosw = Tensor::<4>::random([1, 1, 9, 64], Distribution::Default, &device);
    let sin = cos.clone().neg();
    let sinw = cosw.clone().neg();
    let pairs = Tensor::<1, Int>::from_data(((32..64).chain(0..32)).collect::<Vec<i64>>().as_slice(), &device);
    let swap = Tensor::<2>::random([64, 64], Distribution::Default, &device);
    let gamma = Tensor::<1>::random([576], Distribution::Default, &device);
    let gamma3 = gamma.clone().unsqueeze::<3>();
    let bias = Tensor::<4>::zeros([1, 1, 1, 64], &device);
    let k = Tensor::<4>::random([1, 3, 64, 64], Distribution::Default, &device);
    device.sync().unwrap();
    let mut y = x.clone();
    for i in 0..12 {
        if i == 10 {
            let _ = y.clone().sum().try_into_data();
            device.sync().unwrap();
            std::fs::write("/tmp/mark", "").unwrap();
            eprintln!("MARK");
        }
        // a product before and after, as in the model
        let q = y.clone().reshape([1, 576]).matmul(w.clone().transpose()).reshape([1, 1, 576]);
        let z: Tensor<3> = match which.as_str() {
            "none" => q,
            "rope_select" => {
                let h = q.reshape([1, 1, 9, 64]).swap_dims(1, 2);
                (h.clone() * cos.clone() + h.select(3, pairs.clone()) * sin.clone()).reshape([1, 1, 576])
            }
            "rope_before_swap" => {
                let h = q.reshape([1, 1, 9, 64]);
                (h.clone() * cos.clone() + h.select(3, pairs.clone()) * sin.clone())
                    .swap_dims(1, 2)
                    .reshape([1, 1, 576])
            }
            "rope_select_first" => {
                let h = q.reshape([1, 1, 9, 64]);
                let o = h.clone().select(3, pairs.clone());
                (h * cos.clone() + o * sin.clone()).swap_dims(1, 2).reshape([1, 1, 576])
            }
            "rope_wide" => {
                let h = q.reshape([1, 1, 9, 64]);
                let o = h.clone().select(3, pairs.clone());
                (h * cosw.clone() + o * sinw.clone()).reshape([1, 1, 576])
            }
            "rope_gather" => {
                let h = q.reshape([1, 1, 9, 64]);
                let o = h.clone().gather(3, pairs.clone().reshape([1, 1, 1, 64]).expand([1, 1, 9, 64]));
                (h * cosw.clone() + o * sinw.clone()).reshape([1, 1, 576])
            }
            "rope_matmul" => {
                let h = q.reshape([9, 64]);
                let o = h.clone().matmul(swap.clone()).reshape([1, 1, 9, 64]);
                (h.reshape([1, 1, 9, 64]) * cosw.clone() + o * sinw.clone()).reshape([1, 1, 576])
            }
            "norm" => {
                let ms = q.clone().square().mean_dim(2);
                q / ms.add_scalar(1e-5).sqrt() * gamma.clone().unsqueeze::<3>()
            }
            "norm_first" => {
                let g = gamma.clone().unsqueeze::<3>();
                let ms = q.clone().square().mean_dim(2);
                q / ms.add_scalar(1e-5).sqrt() * g
            }
            "norm_3d" => {
                let ms = q.clone().square().mean_dim(2);
                q / ms.add_scalar(1e-5).sqrt() * gamma3.clone()
            }
            "norm_3d_mul" => {
                let ms = q.clone().square().mean_dim(2);
                q * gamma3.clone() / ms.add_scalar(1e-5).sqrt()
            }
            "norm_res" => {
                let q = q + x.clone();
                let ms = q.clone().square().mean_dim(2);
                q / ms.add_scalar(1e-5).sqrt() * gamma3.clone()
            }
            "attn" => {
                let h = q.reshape([1, 3, 3, 64]) * 0.125;
                let sc = h.matmul(k.clone().swap_dims(2, 3)) + bias.clone();
                activation::softmax(sc, 3).matmul(k.clone()).reshape([1, 1, 576])
            }
            "attn_late" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3)).mul_scalar(0.125) + bias.clone();
                activation::softmax(sc, 3).matmul(k.clone()).reshape([1, 1, 576])
            }
            "attn_exp" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3)).mul_scalar(0.125) + bias.clone();
                let e = (sc.clone() - sc.max_dim(3)).exp();
                let sum = e.clone().sum_dim(3);
                (e.matmul(k.clone()) / sum).reshape([1, 1, 576])
            }
            "attn_norm_last" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3)).mul_scalar(0.125) + bias.clone();
                let sc = sc.detach();
                let e = (sc.clone() - sc.clone().max_dim(3)).exp();
                let p = e.clone() / e.sum_dim(3);
                p.matmul(k.clone()).reshape([1, 1, 576])
            }
            "swiglu" => {
                let b = y.clone().reshape([1, 576]).matmul(w.clone().transpose()).reshape([1, 1, 576]);
                activation::silu(q) * b
            }
            "attn_cat" => {
                let h = q.reshape([1, 9, 1, 64]);
                let kk = h.clone().narrow(1, 0, 3);
                let v = h.narrow(1, 3, 3);
                let both = Tensor::cat(vec![kk, v], 1).reshape([6, 1, 64]);
                let c = Tensor::<3>::zeros([6, 64, 64], &device).slice_assign(s![.., 0..1, ..], both);
                c.narrow(1, 0, 1).sum().reshape([1, 1, 1]).expand([1, 1, 576])
            }
            "rope_swap_select_first" => {
                let h = q.reshape([1, 1, 9, 64]).swap_dims(1, 2);
                let o = h.clone().select(3, pairs.clone());
                (h * cos.clone() + o * sin.clone()).reshape([1, 1, 576])
            }
            "rope_one_mul" => {
                let h = q.reshape([1, 1, 9, 64]).swap_dims(1, 2);
                let o = h.clone().select(3, pairs.clone()) * sin.clone();
                (h * cos.clone() + o).reshape([1, 1, 576])
            }
            "cat" => {
                let h = q.reshape([1, 1, 9, 64]).swap_dims(1, 2);
                let kk = h.clone().narrow(1, 0, 3) * cos.clone();
                let v = y.clone().reshape([1, 9, 1, 64]).narrow(1, 3, 3);
                let both = Tensor::cat(vec![kk, v], 1).reshape([6, 1, 64]);
                both.matmul(k.clone().narrow(1, 0, 1).reshape([3, 1, 64]).repeat_dim(0, 2).swap_dims(1, 2))
                    .sum()
                    .reshape([1, 1, 1])
                    .expand([1, 1, 576])
            }
            "attn_bias_q" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3));
                let b = bias.clone();
                let sc = sc.mul_scalar(0.125) + b;
                let m = sc.clone().max_dim(3);
                let e = (sc - m).exp();
                let su = e.clone().sum_dim(3);
                (e / su).matmul(k.clone()).reshape([1, 1, 576])
            }
            "attn_no_max" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3));
                let b = bias.clone();
                let e = (sc.mul_scalar(0.125) + b).exp();
                let su = e.clone().sum_dim(3);
                (e / su).matmul(k.clone()).reshape([1, 1, 576])
            }
            "attn_lse" => {
                let h = q.reshape([1, 3, 3, 64]);
                let sc = h.matmul(k.clone().swap_dims(2, 3)).mul_scalar(0.125) + bias.clone();
                let sc = sc.reshape([1, 9, 1, 64]);
                activation::softmax(sc, 3).reshape([1, 3, 3, 64]).matmul(k.clone()).reshape([1, 1, 576])
            }
            "attn_mod" => {
                let h = q.reshape([1, 3, 3, 64]);
                burn::tensor::module::attention(
                    h,
                    k.clone(),
                    k.clone(),
                    None,
                    None,
                    burn::tensor::ops::AttentionModuleOptions::default(),
                )
                .reshape([1, 1, 576])
            }
            other => panic!("{other}"),
        };
        y = z.reshape([1, 576]).matmul(w.clone().transpose()).reshape([1, 1, 576]);
    }
    let _ = y.try_into_data();
    device.sync().unwrap();
}
